-- What a project has besides its source: variables, domains.
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
  hostname text primary key,
  project_id text not null,
  organization_id text not null,
  state text not null default 'pending' check (state in ('pending', 'verified', 'active', 'failed')),
  token text not null,
  fault text,
  tries integer not null default 0,
  next_try_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  verified_at timestamptz
);
create index domain_of_project on domain (project_id);
create index domain_due on domain (next_try_at) where next_try_at is not null;
