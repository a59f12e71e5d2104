-- A project as its owner changes and deletes it.

-- Change name, activity and settings; p_settings holds only what changes, null to have it detected again. With p_seen
-- (name, isActive, settings) nothing is changed unless the project still is like that.
-- verdict: changed | not_found | stale
create or replace function change_project(
  p_id text, p_name text, p_is_active boolean, p_settings jsonb, p_seen jsonb
) returns text language plpgsql as $$
declare
  v_project project;
  v_settings jsonb;
begin
  select * into v_project from project where id = p_id for no key update;
  if not found or exists (select from deleted_project where project_id = p_id) then return 'not_found'; end if;
  v_settings := coalesce((select settings from project_settings where project_id = p_id), '{}');
  if p_seen <> jsonb_build_object('name', v_project.name, 'isActive', v_project.is_active, 'settings', v_settings) then
    return 'stale';
  end if;
  update project set name = coalesce(p_name, name), is_active = coalesce(p_is_active, is_active), updated_at = now()
    where id = p_id;
  insert into project_settings (project_id, settings) values (p_id, jsonb_strip_nulls(v_settings || p_settings))
    on conflict (project_id) do update set settings = excluded.settings;
  return 'changed';
end $$;

-- Delete a project: nothing is served or accepted for it from now on, its domains are free, its secrets are gone.
-- Its row stays, inactive, so that its id and its address are never given to another; retention removes the rest.
-- With p_cancelling, the failure its present deployment is to end with, that one is cancelled first.
-- verdict: deleted (cancelled_id to be called off) | not_found | stale | in_progress (active_id)
create or replace function delete_project(
  p_id text, p_deleted_by text, p_seen jsonb, p_cancelling jsonb,
  out verdict text, out active_id text, out cancelled_id text
) language plpgsql as $$
declare
  v_project project;
begin
  verdict := change_project(p_id, null, null, '{}', p_seen);
  if verdict <> 'changed' then return; end if;
  select * into v_project from project where id = p_id;
  if p_cancelling is null then
    select p.id into active_id from present_deployment(p_id) p;
    if active_id is not null then verdict := 'in_progress'; return; end if;
  else
    cancelled_id := end_present(p_id, v_project.organization_id, p_cancelling);
  end if;
  insert into deleted_project (project_id, organization_id, deleted_by)
    values (p_id, v_project.organization_id, p_deleted_by);
  delete from domain where project_id = p_id;
  delete from site where project_id = p_id;
  delete from project_variable where project_id = p_id;
  update deployment set variables = '{}' where project_id = p_id and variables <> '{}';
  update project set is_active = false, production_deploy_url = null, updated_at = now() where id = p_id;
  verdict := 'deleted';
end $$;
