-- What Cloudflare was asked to serve under names of our customers.
create table custom_hostname (
  hostname text primary key,
  cloudflare_id text,
  state text not null default 'pending' check (state in ('pending', 'verified', 'active', 'failed')),
  records jsonb not null default '[]',
  leased_until timestamptz not null default clock_timestamp()
);
comment on table custom_hostname is 'written before Cloudflare is asked, gone after the name was removed there; follows the domains';
comment on column custom_hostname.cloudflare_id is 'null until the answer was read';
comment on column custom_hostname.records is 'what its owner has to set for Cloudflare: name and value of TXT records';
comment on column custom_hostname.leased_until is 'somebody removes it; after that another may';
