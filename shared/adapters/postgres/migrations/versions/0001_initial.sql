-- The platform's own tables (created only where they are missing; their shape is the platform's).

create table if not exists project (
  id text primary key,
  name text not null,
  template_type text not null,
  url text,
  git_url text,
  git_branch text,
  preview_image_url text,
  production_deploy_url text,
  workflow_id text,
  custom_domain text,
  custom_hostname_id text,
  ownership_verification text,
  user_id text not null,
  organization_id text not null,
  container_id text,
  initial_message text,
  knowledge text,
  message_history text not null default '[]',
  deployment_status text default 'idle',
  custom_domain_status text,
  ssl_status text,
  visibility text default 'private',
  is_active boolean not null default true,
  custom_domain_verified_at timestamptz,
  created_at timestamptz default now(),
  updated_at timestamptz not null default now()
);

create table if not exists subscription_limit (
  id text primary key,
  organization_id text not null,
  stripe_customer_id text,
  plan_name text not null,
  plan_id text not null,
  ai_nums integer not null,
  enhance_nums integer not null,
  upload_limit integer not null,
  deploy_limit integer not null,
  seats integer not null default 1,
  project_nums integer not null default 1,
  is_active boolean not null default true,
  period_start timestamptz not null,
  period_end timestamptz not null,
  created_at timestamptz default now(),
  updated_at timestamptz not null default now(),
  last_quota_refresh timestamptz,
  billing_interval text default 'month'
);

-- Ours.

create table api_key (
  id text primary key,
  name text not null,
  hash bytea not null unique,
  scopes text[] not null,
  organization_id text,
  user_id text not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz
);
comment on column api_key.organization_id is 'null: every organisation';

create table project_settings (
  project_id text primary key,
  settings jsonb not null
);

create table snapshot (
  id text primary key,
  project_id text not null,
  organization_id text not null,
  manifest text not null,
  file_count integer not null,
  total_bytes bigint not null,
  created_at timestamptz not null default clock_timestamp()
);
create index snapshot_latest on snapshot (project_id, created_at desc);

create table uploaded_blob (
  organization_id text not null,
  digest text not null,
  size bigint not null,
  primary key (organization_id, digest)
);
comment on table uploaded_blob is 'a digest counts as present only for the organisation that uploaded it';

create table site (
  name text primary key,
  project_id text not null unique,
  organization_id text not null,
  release_id text,
  previous_release_id text,
  confirmed boolean not null default false,
  updated_at timestamptz not null default now()
);
comment on column site.confirmed is 'the public address was seen answering as release_id';
comment on column site.previous_release_id is 'what an unconfirmed pointer goes back to';

create table release (
  id text primary key,
  deployment_id text not null unique,
  project_id text not null,
  organization_id text not null,
  site text not null,
  manifest text not null,
  created_at timestamptz not null default now()
);
create index release_of_project on release (project_id, created_at desc);

create table deployment (
  id text primary key,
  project_id text not null,
  organization_id text not null,
  user_id text not null,
  priority smallint not null default 5,
  source text not null,
  target text not null,
  site text not null,
  settings jsonb not null,
  traceparent text not null default '',
  accepted_at timestamptz not null default clock_timestamp(),
  admitted_at timestamptz,
  deadline timestamptz,
  outcome text check (outcome in ('completed', 'failed', 'cancelled')),
  failure jsonb,
  release_id text,
  url text,
  ended_at timestamptz,
  freed_at timestamptz
);
comment on column deployment.outcome is 'written once, by end_deployment alone';
comment on column deployment.freed_at is 'the sandbox is dead: claim and slot are free again';
create unique index deployment_claim on deployment (project_id) where freed_at is null;
create index deployment_waiting on deployment (priority desc, accepted_at)
  where admitted_at is null and outcome is null;
create index deployment_running on deployment (admitted_at) where admitted_at is not null and freed_at is null;
create index deployment_of_project on deployment (project_id, accepted_at desc);
create index deployment_of_organization on deployment (organization_id, accepted_at desc, id desc);

-- The projection of the journal; made again by `zepid projector rebuild`.

create table deployment_progress (
  deployment_id text primary key,
  stage text not null,
  progress smallint not null,
  epoch smallint not null,
  finished boolean not null,
  outcome text,
  failure jsonb,
  url text,
  started_at timestamptz,
  finished_at timestamptz,
  sequence bigint not null
);
comment on column deployment_progress.stage is 'the step that is or will be worked on';

create table deployment_step (
  deployment_id text not null,
  step text not null,
  status text not null,
  attempts integer not null,
  started_at timestamptz,
  completed_at timestamptz,
  failure jsonb,
  detail text,
  primary key (deployment_id, step)
);

create table projection_position (
  name text primary key,
  stream_created timestamptz not null,
  sequence bigint not null,
  rebuild boolean not null default false
);
