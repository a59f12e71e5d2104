-- name: page
-- Those that were live once, or are what the pointer names.
select r.id, r.deployment_id, extract(epoch from r.created_at)::float8 as created_at, r.site, d.target,
  coalesce(r.id = s.release_id, false) as live, r.pinned, d.expired_at is null as kept, r.file_count, r.total_bytes
from release r
join deployment d on d.id = r.deployment_id
left join site s on s.project_id = r.project_id
where r.project_id = :project_id and (d.outcome = 'completed' or r.id = s.release_id)
  and (:after::text is null
    or (r.created_at, r.id) < (select c.created_at, c.id from release c where c.id = :after and c.project_id = :project_id))
order by r.created_at desc, r.id desc
limit :limit;

-- name: roll_back^
select verdict, served_by, (made).id, (made).project_id, (made).site, (made).target, (made).from_release_id,
  (made).to_release_id
from roll_back(:id, :project_id, :release_id, :user_id, :reason, :targets);

-- name: settle_rollback$
select settle_rollback(:id, :fault);

-- name: unsettled
select id, project_id, site, target, from_release_id, to_release_id from rollback
where settled is null and began_at < now() - make_interval(secs => :older_than);

-- name: rollbacks
select id, from_release_id, to_release_id, user_id, reason, extract(epoch from began_at)::float8 as began_at, settled, fault
from rollback
where project_id = :project_id
  and (:after::text is null
    or (began_at, id) < (select c.began_at, c.id from rollback c where c.id = :after and c.project_id = :project_id))
order by began_at desc, id desc
limit :limit;

-- name: pin$
select pin_release(:project_id, :release_id, :pinned);

-- name: lock^
select locked_by, reason, extract(epoch from locked_at)::float8 as locked_at
from lock_project(:project_id, :locked_by, :reason);

-- name: unlock!
delete from project_lock where project_id = :project_id;

-- name: find_lock^
select locked_by, reason, extract(epoch from locked_at)::float8 as locked_at
from project_lock where project_id = :project_id;

-- name: of_deployment^
select r.id, r.deployment_id, extract(epoch from r.created_at)::float8 as created_at, r.manifest,
  d.expired_at is null as kept
from release r join deployment d on d.id = r.deployment_id
where r.deployment_id = :deployment_id;
