-- What a project has besides its source: variables, domains; and that it was deleted.
create table deleted_project (
  project_id text primary key,
  organization_id text not null,
  deleted_by text not null,
  deleted_at timestamptz not null default clock_timestamp()
);
comment on table deleted_project is 'answers as missing; its snapshots, releases, deployments and logs wait for retention';

create table project_variable (
  project_id text not null,
  name text not null,
  value text not null,
  size integer not null,
  updated_at timestamptz not null default clock_timestamp(),
  primary key (project_id, name)
);
comment on column project_variable.value is 'encrypted; `size` is that of the value itself, in bytes';

alter table deployment add column variables jsonb not null default '{}';
comment on column deployment.variables is 'the project''s variables at acceptance, each value encrypted';

create table domain (
  hostname text not null,
  project_id text not null,
  organization_id text not null,
  state text not null default 'pending' check (state in ('pending', 'verified', 'active', 'failed')),
  token text not null,
  fault text not null default '',
  tries integer not null default 0,
  next_try_at timestamptz default clock_timestamp(),
  asked_at timestamptz not null default clock_timestamp(),
  checked_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  verified_at timestamptz,
  primary key (hostname, project_id)
);
comment on table domain is 'several projects may ask for a hostname; the one that proves to own it has it';
comment on column domain.asked_at is 'since when ownership is looked for; given up some days later';
create unique index domain_owner on domain (hostname) where state in ('verified', 'active');
create index domain_of_project on domain (project_id);
create index domain_due on domain (next_try_at) where next_try_at is not null;
