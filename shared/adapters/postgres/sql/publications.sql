-- name: pointed^
-- A release that another target serves is none of ours; a site that was deleted has none.
select coalesce(ours.id, '') as release, coalesce(ours.manifest, '') as manifest, coalesce(p.release_id, '') as published
from (select :site::text as name) given
left join publication p on p.site = given.name and p.target = :target
left join site s on s.name = given.name
left join (
  select r.id, r.manifest from release r join deployment d on d.id = r.deployment_id and d.target = :target
) ours on ours.id = s.release_id;

-- name: release_variables$
-- Frozen with the deployment, each value encrypted.
select d.variables::text from release r join deployment d on d.id = r.deployment_id where r.id = :release;

-- name: begin!
insert into publication (site, target, release_id) values (:site, :target, :release)
on conflict (site, target) do update
  set release_id = excluded.release_id, begun_at = clock_timestamp(), done = false;

-- name: finish!
update publication set done = true where site = :site and target = :target;

-- name: end!
delete from publication where site = :site and target = :target;

-- name: take_astray
-- What a place serves is not what the pointer names, or was never seen through, and nobody has been at work on it for a
-- while. Whoever takes one has it for as long.
update publication set begun_at = clock_timestamp()
where (site, target) in (
  select p.site, p.target
  from publication p
  left join site s on s.name = p.site
  left join (
    select r.id, d.target from release r join deployment d on d.id = r.deployment_id
  ) wanted on wanted.id = s.release_id and wanted.target = p.target
  where p.target = any(:targets::text[])
    and (not p.done or wanted.id is distinct from p.release_id)
    and p.begun_at < now() - make_interval(secs => :quiet_seconds)
    and coalesce(s.updated_at < now() - make_interval(secs => :quiet_seconds), true)
    and not exists (select from deployment a where a.site = p.site and a.admitted_at is not null and a.freed_at is null)
    and not exists (select from rollback b where b.site = p.site and b.settled is null)
  order by p.begun_at limit :limit
  for update of p skip locked)
returning site, target;
