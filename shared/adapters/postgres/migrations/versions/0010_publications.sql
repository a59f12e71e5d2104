-- What places that keep copies of sites were told outlives the sites; and how much was removed of what is no longer kept.
create table publication (
  site text not null,
  target text not null,
  release_id text not null,
  begun_at timestamptz not null default clock_timestamp(),
  done boolean not null default false,
  primary key (site, target)
);
comment on table publication is
  'what a place that keeps a copy may serve; written before it is told, gone after it was told to serve nothing';
comment on column publication.begun_at is 'when it was told last, or somebody set out to';
comment on column publication.done is 'it has answered that it does serve the release';
insert into publication (site, target, release_id, done)
  select name, 'cloudflare', published_release_id, true from site where published_release_id is not null;
alter table site drop column published_release_id;

create table removal (
  name text primary key,
  removed bigint not null,
  last_at timestamptz not null
);
comment on table removal is 'rows that the reconciler has removed because they are no longer kept, by kind';
