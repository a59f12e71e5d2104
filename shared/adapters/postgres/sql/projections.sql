-- name: position^
select stream_created, sequence, rebuild from projection_position where name = :name;

-- name: start!
-- Another journal numbers its events from 1 again.
with renumbered as (
  update deployment_progress set sequence = 0 where not finished
)
insert into projection_position (name, stream_created, sequence) values (:name, :stream_created, 0)
on conflict (name) do update set stream_created = excluded.stream_created, sequence = 0;

-- name: ask_for_rebuild!
update projection_position set rebuild = true where name = :name;

-- name: rebuilt!
update projection_position set rebuild = false where name = :name;

-- name: load
select p.deployment_id, p.sequence, p.stage, p.progress, p.epoch, p.finished, p.outcome, p.failure, p.url,
  extract(epoch from p.started_at)::float8 as started_at, extract(epoch from p.finished_at)::float8 as finished_at,
  coalesce((
    select jsonb_object_agg(s.step, jsonb_build_object(
      'status', s.status, 'attempts', s.attempts, 'detail', s.detail, 'failure', s.failure,
      'started_at', extract(epoch from s.started_at), 'completed_at', extract(epoch from s.completed_at)))
    from deployment_step s where s.deployment_id = p.deployment_id
  ), '{}') as steps
from deployment_progress p where p.deployment_id = any(:ids);

-- name: save^
-- Rows and position in one statement; only the project's newest deployment speaks for it.
with progress as (
  insert into deployment_progress (deployment_id, sequence, stage, progress, epoch, finished, outcome, failure, url,
    started_at, finished_at)
  select deployment_id, sequence, stage, progress, epoch, finished, outcome, failure, url,
    to_timestamp(started_at), to_timestamp(finished_at)
  from jsonb_to_recordset(:progress) as r (deployment_id text, sequence bigint, stage text, progress smallint,
    epoch smallint, finished boolean, outcome text, failure jsonb, url text, started_at float8, finished_at float8)
  on conflict (deployment_id) do update set
    sequence = excluded.sequence, stage = excluded.stage, progress = excluded.progress, epoch = excluded.epoch,
    finished = excluded.finished, outcome = excluded.outcome, failure = excluded.failure, url = excluded.url,
    started_at = excluded.started_at, finished_at = excluded.finished_at
), steps as (
  insert into deployment_step (deployment_id, step, status, attempts, detail, failure, started_at, completed_at)
  select deployment_id, step, status, attempts, detail, failure, to_timestamp(started_at), to_timestamp(completed_at)
  from jsonb_to_recordset(:steps) as r (deployment_id text, step text, status text, attempts integer, detail text,
    failure jsonb, started_at float8, completed_at float8)
  on conflict (deployment_id, step) do update set
    status = excluded.status, attempts = excluded.attempts, detail = excluded.detail, failure = excluded.failure,
    started_at = excluded.started_at, completed_at = excluded.completed_at
), projects as (
  update project p set deployment_status = r.status, updated_at = now()
  from jsonb_to_recordset(:projects) as r (deployment_id text, status text)
    join deployment d on d.id = r.deployment_id
  where p.id = d.project_id and p.workflow_id = d.id
)
update projection_position set sequence = :sequence where name = :name returning rebuild;
