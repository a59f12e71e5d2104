-- A site may be kept as it is; a release may be kept for ever.
alter table release add column pinned boolean not null default false;

create table project_lock (
  project_id text primary key,
  locked_by text not null,
  reason text not null default '',
  locked_at timestamptz not null default clock_timestamp()
);
comment on table project_lock is 'nothing is published for a locked project: neither deployments nor rollbacks';

alter table site add column published_release_id text;
comment on column site.published_release_id is 'what a place that keeps a copy was last told to serve; written before it is told';
