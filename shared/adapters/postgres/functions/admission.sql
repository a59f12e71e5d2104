-- Intake: which waiting deployments may start.

drop function if exists admit_deployments;

-- Give free slots to waiting deployments: to the organisation with the fewest first, then to the one that was
-- served longest ago; within an organisation by priority, then age. One that is paused or has all its slots does
-- not hold up the others, nor does a deployment that waits for the end of the one it replaces. Each waiting
-- organisation is looked at once, so the cost does not grow with the number of deployments.
-- Nobody was told yet, so the commit need not wait for the disk: lost with the server, it is only done again.
create function admit_deployments(p_limit int, p_limit_of_one int, p_deadline_seconds double precision)
returns setof deployment language plpgsql as $$
declare
  v_free int;
begin
  perform set_config('synchronous_commit', 'off', true);
  perform pg_advisory_xact_lock(hashtext('zepid.admission'));
  if exists (select from queue_pause where organization_id = '') then return; end if;
  select p_limit - count(*) into v_free from deployment where admitted_at is not null and freed_at is null;
  if v_free <= 0 then return; end if;
  return query
    with recursive organization(id) as (
      (select organization_id from deployment where admitted_at is null and outcome is null
        order by organization_id limit 1)
      union all
      select (select d.organization_id from deployment d
        where d.admitted_at is null and d.outcome is null and d.organization_id > o.id
        order by d.organization_id limit 1)
      from organization o where o.id is not null
    ), standing as (
      select o.id,
        (select count(*) from deployment r
          where r.organization_id = o.id and r.admitted_at is not null and r.freed_at is null) as running,
        (select max(s.admitted_at) from deployment s
          where s.organization_id = o.id and s.admitted_at is not null) as served_at
      from organization o
      where o.id is not null and not exists (select from queue_pause p where p.organization_id = o.id)
    ), candidate as (
      select w.id, s.running + w.place as turn, s.served_at, w.priority, w.accepted_at
      from standing s cross join lateral (
        select d.id, d.priority, d.accepted_at, row_number() over (order by d.priority desc, d.accepted_at) as place
        from deployment d
        where d.organization_id = s.id and d.admitted_at is null and d.outcome is null
          and not exists (select from deployment r
            where r.project_id = d.project_id and r.admitted_at is not null and r.freed_at is null)
        order by d.priority desc, d.accepted_at
        limit greatest(0, least(v_free, p_limit_of_one - s.running))
      ) w
    )
    update deployment set
      admitted_at = clock_timestamp(),
      deadline = clock_timestamp() + make_interval(secs => p_deadline_seconds)
    where admitted_at is null and outcome is null and id in (
      select c.id from candidate c order by c.turn, c.served_at nulls first, c.priority desc, c.accepted_at limit v_free)
    returning *;
end $$;
