-- API keys people can tell apart and rotate, and who did what.
alter table api_key add column prefix text not null default '';
alter table api_key add column created_by text not null default '';
alter table api_key add column last_used_at timestamptz;
alter table api_key add column previous_hash bytea unique;
alter table api_key add column previous_until timestamptz;
comment on column api_key.prefix is 'the first characters of the token, by which its owner recognises it';
comment on column api_key.previous_hash is 'the token before the last rotation, valid until previous_until';
create index api_key_of_organization on api_key (organization_id, created_at desc, id desc);

create table audit (
  id text primary key,
  at timestamptz not null,
  organization_id text,
  actor text not null,
  user_id text not null,
  action text not null,
  subjects jsonb not null,
  status integer not null,
  request_id text not null
);
comment on column audit.id is 'made where the request was answered; ascends with time';
comment on column audit.actor is 'an API key''s id, or jwt:<user>, session:<user>';
create index audit_of_organization on audit (organization_id, id desc);
create index audit_of_actor on audit (actor, id desc);
