-- Where a snapshot came from, and what a deployment is made of.
alter table snapshot add column origin jsonb not null default '{}';
comment on column snapshot.origin is 'how the tree was given: uploaded, template and history, or git url, ref and commit';
alter table deployment add column origin jsonb not null default '{}';
comment on column deployment.origin is 'as snapshot.origin; of git before it is fetched: url and ref, while source is empty';
