-- API keys people can tell apart, and who did what.
alter table api_key add column prefix text not null default '';
alter table api_key add column last_used_at timestamptz;
comment on column api_key.prefix is 'the first characters of the token, by which its owner recognises it';

create table audit (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  organization_id text,
  actor text not null,
  action text not null,
  subject text not null,
  status integer not null,
  request_id text not null
);
create index audit_of_organization on audit (organization_id, id desc);
