-- Two deployments of a project may exist at once when one replaces the other: the claim ends with the
-- outcome, the slot when the sandbox is dead.
drop index deployment_claim;
create unique index deployment_claim on deployment (project_id) where outcome is null;
create unique index deployment_slot on deployment (project_id) where admitted_at is not null and freed_at is null;
create index deployment_freed on deployment (freed_at) where freed_at is not null;
create index deployment_active on deployment (project_id) where freed_at is null;

-- Admission looks at each waiting organisation once, not at each waiting deployment.
drop index deployment_waiting;
create index deployment_waiting on deployment (organization_id, priority desc, accepted_at, id)
  where admitted_at is null and outcome is null;
drop index deployment_running;
create index deployment_running on deployment (organization_id) where admitted_at is not null and freed_at is null;
create index deployment_served on deployment (organization_id, admitted_at desc) where admitted_at is not null;

alter table deployment add column retry_of text;
comment on column deployment.retry_of is 'the deployment whose frozen snapshot this one deploys again';

create table queue_pause (
  organization_id text primary key,
  paused_by text not null,
  paused_at timestamptz not null default clock_timestamp()
);
comment on column queue_pause.organization_id is 'the empty text stands for every organisation';

create table quota_ledger (
  deployment_id text primary key,
  organization_id text not null,
  plan text not null,
  reserved_at timestamptz not null default clock_timestamp(),
  settled text check (settled in ('committed', 'returned')),
  settled_at timestamptz
);
comment on column quota_ledger.plan is 'id of the subscription_limit row that the unit was taken from';
create index quota_of_plan on quota_ledger (plan);

create table repair (
  name text primary key,
  repaired bigint not null,
  last_at timestamptz not null
);
comment on table repair is 'how often each repair of the reconciler had something to mend';
