-- The gateway: record a deployment and take its project's claim, or say why not.

drop function if exists accept_deployment;

-- One unit of the organisation's quota, from a yearly paid plan first, then FREE, then any other; null when
-- nothing is left. An organisation without any plan is not metered: the answer is ''.
create or replace function reserve_quota(p_organization_id text) returns text language plpgsql as $$
declare
  v_plan text;
begin
  perform from subscription_limit where organization_id = p_organization_id order by id for no key update;
  if not found then return ''; end if;
  update subscription_limit set deploy_limit = deploy_limit - 1, updated_at = now()
    where id = (
      select id from subscription_limit
      where organization_id = p_organization_id and is_active and period_end > now() and deploy_limit > 0
      order by (billing_interval = 'year' and plan_name <> 'FREE') desc, plan_name = 'FREE' desc, created_at, id
      limit 1)
    returning id into v_plan;
  return v_plan;
end $$;

-- Cancel a project's present deployment, if there is one; return its id. Rows are locked in the order in which
-- end_deployment and reserve_quota lock them.
create or replace function end_present(p_project_id text, p_organization_id text, p_failure jsonb) returns text
language plpgsql as $$
declare
  v_id text;
  v_decided boolean;
begin
  select id into v_id from deployment where project_id = p_project_id and outcome is null for update;
  if not found then return null; end if;
  perform from subscription_limit where organization_id = p_organization_id order by id for no key update;
  select decided into v_decided from end_deployment(v_id, 'cancelled', p_failure, '', '');
  return case when v_decided then v_id end;
end $$;

-- verdict: accepted | not_found | inactive | snapshot_not_found | in_progress (active_id, active_state)
--   | queue_full | quota_exceeded
-- The same id again is accepted again and changes nothing. With p_retry_of everything but the id is taken from
-- that deployment. With p_superseding, the failure that the project's present deployment is to end with, that one
-- is cancelled first; superseded_id tells which, for the caller to call off.
create function accept_deployment(
  p_id text, p_project_id text, p_organization_id text, p_user_id text,
  p_priority int, p_target text, p_snapshot_id text, p_traceparent text,
  p_retry_of text, p_superseding jsonb, p_max_waiting int,
  out verdict text, out active_id text, out active_state text, out superseded_id text
) language plpgsql as $$
declare
  v_active boolean;
  v_again deployment;
  v_source text;
  v_plan text;
begin
  select is_active into v_active from project
    where id = p_project_id and organization_id = p_organization_id
    for no key update;
  if not found then verdict := 'not_found'; return; end if;
  if exists (select from deployment where id = p_id) then verdict := 'accepted'; return; end if;
  if not v_active then verdict := 'inactive'; return; end if;

  if p_superseding is null then
    select d.id, case when coalesce(p.stage, 'validate') in ('validate', 'sandbox') then 'preparing' else 'deploying' end
      into active_id, active_state
      from deployment d left join deployment_progress p on p.deployment_id = d.id
      where d.project_id = p_project_id and d.freed_at is null
      order by d.accepted_at desc limit 1;
    if found then verdict := 'in_progress'; return; end if;
  end if;

  if p_retry_of is not null then
    select * into v_again from deployment where id = p_retry_of and project_id = p_project_id;
    v_source := v_again.source;
  else
    select manifest into v_source from snapshot
      where project_id = p_project_id and (p_snapshot_id is null or id = p_snapshot_id)
      order by created_at desc limit 1;
  end if;
  if not found and (p_snapshot_id is not null or p_retry_of is not null) then
    verdict := 'snapshot_not_found'; return;
  end if;

  if (select count(*) from (
        select from deployment
        where organization_id = p_organization_id and admitted_at is null and outcome is null
          and project_id <> p_project_id
        limit p_max_waiting) waiting) >= p_max_waiting then
    verdict := 'queue_full'; return;
  end if;
  begin
    if p_superseding is not null then
      superseded_id := end_present(p_project_id, p_organization_id, p_superseding);
    end if;
    v_plan := reserve_quota(p_organization_id);
    if v_plan is null then raise exception 'no quota left' using errcode = 'ZD001'; end if;
  exception when sqlstate 'ZD001' then
    verdict := 'quota_exceeded'; superseded_id := null; return;
  end;
  insert into site (name, project_id, organization_id)
    values (site_name(p_project_id), p_project_id, p_organization_id)
    on conflict (project_id) do nothing;
  insert into deployment (id, project_id, organization_id, user_id, priority, target, source, site, settings,
      variables, traceparent, retry_of)
    values (p_id, p_project_id, p_organization_id, p_user_id,
      coalesce(v_again.priority, p_priority), coalesce(v_again.target, p_target), coalesce(v_source, ''),
      (select name from site where project_id = p_project_id),
      coalesce(v_again.settings, (select settings from project_settings where project_id = p_project_id), '{}'),
      coalesce(v_again.variables, project_variables(p_project_id)), p_traceparent, p_retry_of);
  if v_plan <> '' then
    insert into quota_ledger (deployment_id, organization_id, plan) values (p_id, p_organization_id, v_plan);
  end if;
  update project set deployment_status = 'preparing', workflow_id = p_id, updated_at = now() where id = p_project_id;
  verdict := 'accepted';
end $$;
