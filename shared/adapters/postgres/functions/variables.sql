-- A project's environment variables: changed under the project's lock, frozen for each deployment.

drop function if exists project_variables;

-- Change variables: p_changes is name → {value, size}, null to remove; p_replace removes what it does not name.
-- verdict: changed | too_many | too_large (nothing was changed).
create or replace function change_variables(
  p_project_id text, p_changes jsonb, p_replace boolean, p_most int, p_most_bytes int
) returns text language plpgsql as $$
declare
  v_count bigint;
  v_bytes bigint;
begin
  perform from project where id = p_project_id for no key update;
  delete from project_variable v where v.project_id = p_project_id
    and coalesce(jsonb_typeof(p_changes -> v.name) = 'null', p_replace);
  insert into project_variable (project_id, name, value, size)
    select p_project_id, c.key, c.value ->> 'value', (c.value ->> 'size')::int
    from jsonb_each(p_changes) c where jsonb_typeof(c.value) = 'object'
    on conflict (project_id, name) do update
      set value = excluded.value, size = excluded.size, updated_at = clock_timestamp();
  select count(*), coalesce(sum(octet_length(name) + size), 0) into v_count, v_bytes
    from project_variable where project_id = p_project_id;
  if v_count > p_most then raise exception 'too_many' using errcode = 'ZD002'; end if;
  if v_bytes > p_most_bytes then raise exception 'too_large' using errcode = 'ZD002'; end if;
  return 'changed';
exception when sqlstate 'ZD002' then
  return sqlerrm;
end $$;

-- Acceptance: the variables as they are now, name → encrypted value.
create function project_variables(p_project_id text) returns table (variables jsonb) language sql stable as $$
  select coalesce(jsonb_object_agg(name, value), '{}') from project_variable where project_id = p_project_id
$$;

-- The build step: the variables frozen for a deployment that has not ended; null for any other. Nothing else
-- reads them; where services have roles of their own, only the build step's is granted this function.
create or replace function build_variables(p_deployment_id text) returns jsonb language sql stable
security definer set search_path from current as $$
  select variables from deployment where id = p_deployment_id and outcome is null
$$;
revoke execute on function build_variables from public;
