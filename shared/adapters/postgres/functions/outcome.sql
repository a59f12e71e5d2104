-- How a deployment ends: the outcome, once; then, when its sandbox is dead, claim and slot are free again.

drop function if exists end_deployment;

-- Whoever decides: the outcome, once. Returns what is true afterwards; `decided` tells whether this
-- call made it so. A pointer that was never seen live goes back with any other outcome, and the unit of
-- quota goes back unless the deployment went live or its author broke it.
create function end_deployment(
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
    return;
  end if;
  if p_outcome = 'completed' then
    update site s set confirmed = true where s.project_id = ended.project_id and s.release_id = p_release_id;
    if found then perform announce_release('release.published', p_release_id, jsonb_build_object('url', ended.url)); end if;
  else
    update site s set release_id = s.previous_release_id, confirmed = s.previous_release_id is not null, updated_at = now()
      from release r
      where s.project_id = ended.project_id and r.deployment_id = p_id and s.release_id = r.id and not s.confirmed;
  end if;
  perform settle_quota(p_id, p_outcome = 'completed' or (p_outcome = 'failed' and p_failure ->> 'class' = 'user'));
  perform announce('deployment.' || case p_outcome when 'completed' then 'succeeded' else p_outcome end, ended);
end $$;

-- The cleanup step: the sandbox is dead; claim and slot are free again. Lost with the server, the
-- reconciler has the cleanup done again, so the commit need not wait for the disk. The project is locked
-- before the deployment, as acceptance does it; one that was deleted meanwhile has no site, and so no address.
create or replace function free_deployment(p_id text) returns boolean language plpgsql as $$
declare
  v deployment;
begin
  perform set_config('synchronous_commit', 'off', true);
  perform from project where id = (select project_id from deployment where id = p_id) for no key update;
  update deployment set freed_at = clock_timestamp()
    where id = p_id and outcome is not null and freed_at is null returning * into v;
  if not found then return false; end if;
  if v.outcome = 'completed' then
    update project set production_deploy_url = v.url, updated_at = now()
      where id = v.project_id and exists (select from site where project_id = v.project_id);
  end if;
  return true;
end $$;
