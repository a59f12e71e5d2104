-- What is no longer kept. Called while nobody else holds the lock of the collection, so that no rollback, pin or
-- acceptance can come between the look and the change.

drop function if exists expire_deployments;
drop function if exists forget_snapshots;

-- A deployment expires when it ended long ago, unless its release is pinned, live or what the pointer may go back to,
-- was replaced so lately that pages ask for its files, or is among the newest of its project that were live.
-- Of a deleted project none of this is kept; it has no site. Null stands for every organisation, here and below.
create function expire_deployments(
  p_organization_id text, p_older_than interval, p_keep_releases int, p_earlier interval
) returns table (id text, released boolean) language sql volatile as $$
  with numbered as (
    select r.id, row_number() over (partition by r.project_id order by r.created_at desc, r.id desc) as number
    from release r join deployment d on d.id = r.deployment_id
    where d.outcome = 'completed' and d.expired_at is null
  ), old as (
    select d.id, r.id is not null as released
    from deployment d
    left join deleted_project x on x.project_id = d.project_id
    left join release r on r.deployment_id = d.id
    left join site s on s.project_id = d.project_id
    left join numbered n on n.id = r.id
    where (p_organization_id is null or d.organization_id = p_organization_id)
      and d.expired_at is null and d.freed_at < clock_timestamp() - p_older_than
      and coalesce(r.id not in (s.release_id, s.previous_release_id), true)
      and coalesce(r.replaced_at < clock_timestamp() - p_earlier, true)
      and (x.project_id is not null or (coalesce(not r.pinned, true) and coalesce(n.number > p_keep_releases, true)))
  )
  update deployment d set expired_at = clock_timestamp() from old
  where d.id = old.id
  returning d.id, old.released
$$;

-- Old trees that no deployment may still be made from; of a project the latest of each kind stays.
create function forget_snapshots(p_organization_id text, p_older_than interval) returns bigint
language plpgsql as $$
declare
  v_forgotten bigint;
begin
  delete from snapshot s
    where (p_organization_id is null or s.organization_id = p_organization_id)
      and s.created_at < clock_timestamp() - p_older_than
      and (exists (select from deleted_project x where x.project_id = s.project_id) or exists (
        select from snapshot n where n.project_id = s.project_id and (n.created_at, n.id) > (s.created_at, s.id)
          and is_default_source(n.origin) = is_default_source(s.origin)))
      and not exists (
        select from deployment d where d.project_id = s.project_id and d.source = s.manifest and d.expired_at is null);
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end $$;
