-- Where a snapshot came from.
alter table snapshot add column origin jsonb not null default '{}';
comment on column snapshot.origin is 'how the tree was given: uploaded, template and history, or git url, ref and commit';
