-- A site may be kept as it is, a release for ever; who moved a pointer back, and what is no longer kept.
alter table release add column pinned boolean not null default false;
alter table release add column file_count integer not null default 0;
alter table release add column total_bytes bigint not null default 0;
alter table release add column pointed_at timestamptz;
alter table release add column replaced_at timestamptz;
comment on column release.pointed_at is 'its deployment moved the pointer here, which it does once';
comment on column release.replaced_at is 'the pointer left it last: pages loaded before then still ask for its files';
create index release_replaced on release (project_id, replaced_at desc) where replaced_at is not null;

alter table site add column moved_by text;
comment on column site.moved_by is 'the deployment or rollback that moved the pointer last';

create table project_lock (
  project_id text primary key,
  locked_by text not null,
  reason text not null default '',
  locked_at timestamptz not null default clock_timestamp()
);
comment on table project_lock is 'nothing is published for a locked project: neither deployments nor rollbacks';

alter table site add column published_release_id text;
comment on column site.published_release_id is 'what a place that keeps a copy was last told to serve; written before it is told';

create table rollback (
  id text primary key,
  project_id text not null,
  organization_id text not null,
  site text not null,
  target text not null,
  from_release_id text,
  to_release_id text not null,
  user_id text not null,
  reason text not null,
  began_at timestamptz not null default clock_timestamp(),
  settled text check (settled in ('confirmed', 'undone', 'overtaken')),
  settled_at timestamptz,
  fault text
);
create index rollback_of_project on rollback (project_id, began_at desc, id desc);
create index rollback_unsettled on rollback (began_at) where settled is null;
comment on column rollback.settled is 'null while the public address is looked at';

alter table deployment add column expired_at timestamptz;
comment on column deployment.expired_at is 'its source, output and log are no longer kept';
create index deployment_kept on deployment (freed_at) where expired_at is null and freed_at is not null;

alter table uploaded_blob add column recorded_at timestamptz not null default clock_timestamp();
comment on column uploaded_blob.recorded_at is 'uploaded, or needed by a tree being uploaded: not removed for a while';
create index uploaded_blob_digest on uploaded_blob (digest);

create table collection_run (
  name text primary key,
  last_at timestamptz not null
);
comment on table collection_run is 'when the cleanup that runs by itself last began';
