-- The guarded transitions of a deployment's life: accept, admit, point, end, free.
-- Each is one statement for its caller and one transaction; applied again at every migration.

create or replace function site_name(p_project_id text) returns text language sql immutable as $$
  select case
    when p_project_id ~ '^[a-z0-9]([a-z0-9-]{0,54}[a-z0-9])?$' then p_project_id || '-worker'
    else trim(both '-' from left(regexp_replace(lower(p_project_id), '[^a-z0-9]+', '-', 'g'), 46))
         || '-' || left(md5(p_project_id), 8) || '-worker'
  end
$$;

-- The gateway: record a deployment and take its project's claim, or say why not.
-- verdict: accepted | not_found | inactive | snapshot_not_found | in_progress (active_id, active_state)
create or replace function accept_deployment(
  p_id text, p_project_id text, p_organization_id text, p_user_id text,
  p_priority int, p_target text, p_snapshot_id text, p_traceparent text,
  out verdict text, out active_id text, out active_state text
) language plpgsql as $$
declare
  v_active boolean;
  v_source text;
begin
  select is_active into v_active from project
    where id = p_project_id and organization_id = p_organization_id
    for no key update;
  if not found then verdict := 'not_found'; return; end if;
  if not v_active then verdict := 'inactive'; return; end if;

  select d.id, case when coalesce(p.stage, 'validate') in ('validate', 'sandbox') then 'preparing' else 'deploying' end
    into active_id, active_state
    from deployment d left join deployment_progress p on p.deployment_id = d.id
    where d.project_id = p_project_id and d.freed_at is null;
  if found then verdict := 'in_progress'; return; end if;

  select manifest into v_source from snapshot
    where project_id = p_project_id and (p_snapshot_id is null or id = p_snapshot_id)
    order by created_at desc limit 1;
  if not found and p_snapshot_id is not null then verdict := 'snapshot_not_found'; return; end if;

  insert into site (name, project_id, organization_id)
    values (site_name(p_project_id), p_project_id, p_organization_id)
    on conflict (project_id) do nothing;
  insert into deployment (id, project_id, organization_id, user_id, priority, target, source, site, settings, traceparent)
    values (p_id, p_project_id, p_organization_id, p_user_id, p_priority, p_target, coalesce(v_source, ''),
      (select name from site where project_id = p_project_id),
      coalesce((select settings from project_settings where project_id = p_project_id), '{}'), p_traceparent);
  update project set deployment_status = 'preparing', workflow_id = p_id, updated_at = now() where id = p_project_id;
  verdict := 'accepted';
end $$;

-- Intake: give free slots to waiting deployments, highest priority first, then oldest. Nobody was told
-- yet, so the commit need not wait for the disk: lost with the server, it is only done again.
create or replace function admit_deployments(p_limit int, p_deadline_seconds double precision)
returns setof deployment language plpgsql as $$
declare
  v_free int;
begin
  perform set_config('synchronous_commit', 'off', true);
  perform pg_advisory_xact_lock(hashtext('zepid.admission'));
  select p_limit - count(*) into v_free from deployment where admitted_at is not null and freed_at is null;
  if v_free <= 0 then return; end if;
  return query
    update deployment set
      admitted_at = clock_timestamp(),
      deadline = clock_timestamp() + make_interval(secs => p_deadline_seconds)
    where id in (
      select id from deployment where admitted_at is null and outcome is null
      order by priority desc, accepted_at limit v_free for update skip locked)
    returning *;
end $$;

-- The deploy step: make the site's pointer name this deployment's release, unless the deployment
-- has an outcome or has lost its claim.
create or replace function point_site(p_deployment_id text, p_release_id text) returns boolean language plpgsql as $$
declare
  v_project_id text;
begin
  select project_id into v_project_id from deployment
    where id = p_deployment_id and outcome is null and freed_at is null for update;
  if not found then return false; end if;
  update site set
    previous_release_id = case when confirmed then release_id else previous_release_id end,
    release_id = p_release_id, confirmed = false, updated_at = now()
    where project_id = v_project_id and release_id is distinct from p_release_id;
  return true;
end $$;

-- Whoever decides: the outcome, once. Returns what is true afterwards; `decided` tells whether this
-- call made it so. A pointer that was never seen live goes back with any other outcome.
create or replace function end_deployment(
  p_id text, p_outcome text, p_failure jsonb, p_url text, p_release_id text,
  out decided boolean, out ended deployment
) language plpgsql as $$
begin
  update deployment d set
    outcome = p_outcome, failure = p_failure, url = nullif(p_url, ''), release_id = nullif(p_release_id, ''),
    ended_at = clock_timestamp(), freed_at = case when d.admitted_at is null then clock_timestamp() end
    where d.id = p_id and d.outcome is null and d.freed_at is null
    returning * into ended;
  decided := found;
  if not decided then
    select * into ended from deployment d where d.id = p_id;
  elsif p_outcome = 'completed' then
    update site s set confirmed = true where s.project_id = ended.project_id and s.release_id = p_release_id;
  else
    update site s set release_id = s.previous_release_id, confirmed = s.previous_release_id is not null, updated_at = now()
      from release r
      where s.project_id = ended.project_id and r.deployment_id = p_id and s.release_id = r.id and not s.confirmed;
  end if;
end $$;

-- The cleanup step: the sandbox is dead; claim and slot are free again. Lost with the server, the
-- reconciler has the cleanup done again, so the commit need not wait for the disk.
create or replace function free_deployment(p_id text) returns boolean language plpgsql as $$
declare
  v deployment;
begin
  perform set_config('synchronous_commit', 'off', true);
  update deployment set freed_at = clock_timestamp()
    where id = p_id and outcome is not null and freed_at is null returning * into v;
  if not found then return false; end if;
  if v.outcome = 'completed' then
    update project set production_deploy_url = v.url, updated_at = now() where id = v.project_id;
  end if;
  return true;
end $$;

-- The edge caches pointers and is told when one moves. Notifying takes a lock that makes commits wait for
-- each other, so a new site, which has no release yet, does not notify.
create or replace function notify_site_changed() returns trigger language plpgsql as $$
begin
  perform pg_notify('site_changed', new.name);
  return null;
end $$;
create or replace trigger site_changed after update of release_id on site
  for each row execute function notify_site_changed();
