-- name: accept
select verdict, deployment_id, extract(epoch from accepted_at)::float8 as accepted_at, superseded_id,
  active_id, active_state, retry_after
from accept_deployments(:orders);

-- name: forget_keys!
delete from idempotency where created_at < now() - interval '1 day';

-- name: admit
select id, project_id, organization_id, source, target, debug, traceparent, extract(epoch from deadline)::float8 as deadline
from admit_deployments(:max_running, :max_running_of_one, :deadline_seconds);

-- name: point_site$
select point_site(:id, :release_id);

-- name: end_deployment^
select decided, (ended).id, (ended).project_id, (ended).organization_id, (ended).source, (ended).target, (ended).debug,
  (ended).traceparent, (ended).outcome, (ended).failure,
  coalesce((ended).url, '') as url, coalesce((ended).release_id, '') as release,
  (ended).admitted_at is not null as admitted, extract(epoch from (ended).deadline)::float8 as deadline
from end_deployment(:id, :outcome, :failure, :url, :release_id);

-- name: freeze_source$
select freeze_source(:id, :tree);

-- name: free$
select free_deployment(:id);

-- name: find^
select d.id, d.project_id, d.organization_id, d.site, d.target, d.source, d.origin, d.settings, d.outcome,
  coalesce(p.is_active, false) as project_active
from deployment d left join project p on p.id = d.project_id
where d.id = :id;

-- name: origins
select d.id, d.project_id, d.organization_id, d.user_id, d.outcome, (
    select n.id from deployment n
    where n.project_id = d.project_id and n.accepted_at > d.accepted_at and n.outcome = 'completed'
    order by n.accepted_at desc limit 1) as newer
from deployment d where d.id = any(:ids::text[]);

-- name: build_variables$
select build_variables(:id);

-- name: insert_release$
-- The id is derived from the deployment's, so that every call names the same release; what it holds changes only
-- until it is served, when its files were lost and built again.
with inserted as (
  insert into release (id, deployment_id, project_id, organization_id, site, manifest, file_count, total_bytes)
  select 'rel_' || split_part(id, '_', 2), id, project_id, organization_id, site, :manifest, :file_count, :total_bytes
  from deployment where id = :id
  on conflict (deployment_id) do update set
    manifest = excluded.manifest, file_count = excluded.file_count, total_bytes = excluded.total_bytes,
    created_at = now()
    where release.pointed_at is null and release.manifest <> excluded.manifest
  returning id
)
select coalesce((select id from inserted), (select id from release where deployment_id = :id));

-- name: overdue
-- Past the deadline, or waiting for too long, and not decided.
select d.id, d.admitted_at is not null as admitted, coalesce(p.stage, 'validate') as stage
from deployment d left join deployment_progress p on p.deployment_id = d.id
where d.outcome is null and (
  (d.admitted_at is not null and d.freed_at is null and d.deadline < now())
  or (d.admitted_at is null and d.accepted_at < now() - make_interval(secs => :max_waiting_seconds)));

-- name: unfinished
-- In the pipeline, not yet free.
select d.id, d.project_id, d.organization_id, d.source, d.target, d.debug, d.traceparent, d.outcome, d.failure,
  coalesce(d.url, '') as url, coalesce(d.release_id, '') as release,
  true as admitted, extract(epoch from d.deadline)::float8 as deadline,
  extract(epoch from now() - greatest(d.admitted_at, d.ended_at))::float8 as quiet_seconds
from deployment d
where d.admitted_at is not null and d.freed_at is null;

-- name: unshown
-- Over since a while in the table, but not in the projection that people see.
select d.id, d.project_id, d.organization_id, d.source, d.target, d.debug, d.traceparent, d.outcome, d.failure,
  coalesce(d.url, '') as url, coalesce(d.release_id, '') as release,
  d.admitted_at is not null as admitted, extract(epoch from d.deadline)::float8 as deadline,
  extract(epoch from now() - d.freed_at)::float8 as quiet_seconds
from deployment d left join deployment_progress p on p.deployment_id = d.id
where d.freed_at is not null and not coalesce(p.finished, false)
  and d.freed_at > now() - interval '1 day' and d.freed_at < now() - make_interval(secs => :quiet_seconds);

-- name: freed_among
-- Which of these are over or were never recorded: nothing of theirs may be left on a host.
select given.id from unnest(:ids::text[]) as given(id)
where not exists (select from deployment d where d.id = given.id and d.freed_at is null);

-- name: count_repairs!
insert into repair (name, repaired, last_at) values (:name, :count, now())
on conflict (name) do update set repaired = repair.repaired + excluded.repaired, last_at = excluded.last_at;

-- name: status^
select d.id, d.project_id, d.organization_id, d.retry_of, d.accepted_at, d.admitted_at, d.outcome as decided, d.failure as decided_failure,
  d.url as decided_url, d.ended_at,
  p.stage, p.progress, p.finished, p.outcome, p.failure, p.url, p.finished_at,
  q.queue_position, q.place, q.running, q.running_of_one, q.paused,
  coalesce((
    select jsonb_agg(jsonb_build_object(
      'step', s.step, 'status', s.status, 'attempts', s.attempts, 'detail', s.detail, 'failure', s.failure,
      'startedAt', extract(epoch from s.started_at), 'completedAt', extract(epoch from s.completed_at)))
    from deployment_step s where s.deployment_id = d.id
  ), '[]') as steps
from deployment d left join deployment_progress p on p.deployment_id = d.id
left join lateral place_in_queue(d.id) q on true
where d.id = :id;

-- name: is_shown_over$
select exists (select from deployment_progress where deployment_id = :id and finished);

-- name: recent
select d.id, d.project_id, coalesce(j.name, '') as project_name, d.organization_id, d.accepted_at, d.ended_at,
  p.stage, p.progress, p.finished, p.outcome, p.url, p.finished_at
from deployment d
left join deployment_progress p on p.deployment_id = d.id
left join project j on j.id = d.project_id
where (:organization_id::text is null or d.organization_id = :organization_id)
  and (:project_id::text is null or d.project_id = :project_id)
  and (:shown::text is null
    or :shown = case when p.stage is null then 'pending' when p.finished then p.outcome else p.stage end)
  and (:before::timestamptz is null or (d.accepted_at, d.id) < (:before, :before_id::text))
order by d.accepted_at desc, d.id desc
limit :limit;
