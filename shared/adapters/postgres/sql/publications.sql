-- name: pointed^
-- A release that another target serves is none of ours.
select coalesce(ours.id, '') as release, coalesce(ours.manifest, '') as manifest,
  coalesce(s.published_release_id, '') as published
from site s left join (
  select r.id, r.manifest from release r join deployment d on d.id = r.deployment_id and d.target = :target
) ours on ours.id = s.release_id
where s.name = :site;

-- name: release_variables$
-- Frozen with the deployment, each value encrypted.
select d.variables::text from release r join deployment d on d.id = r.deployment_id where r.id = :release;

-- name: note_published!
update site set published_release_id = nullif(:release, '') where name = :site;
