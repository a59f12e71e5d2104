-- name: expire
select id, released from expire_deployments(
  :organization_id, make_interval(secs => :older_than), :keep_releases, make_interval(secs => :earlier));

-- name: forget_snapshots$
select forget_snapshots(:organization_id, make_interval(secs => :older_than));

-- name: manifests
-- The trees that something refers to, of late: made after a moment, or all.
select r.manifest from release r left join deployment d on d.id = r.deployment_id
where d.expired_at is null and (:since::timestamptz is null or r.created_at > :since)
union
select manifest from snapshot where :since::timestamptz is null or created_at > :since
union
select source from deployment
where expired_at is null and source <> '' and (:since::timestamptz is null or accepted_at > :since);

-- name: a_while_ago$
-- Later than any statement that still runs can have begun.
select now() - interval '2 minutes';

-- name: in_upload
select distinct digest from uploaded_blob
where digest = any(:digests::text[]) and recorded_at > now() - make_interval(secs => :grace);

-- name: forget_uploads$
with forgotten as (
  delete from uploaded_blob where digest = any(:digests::text[]) returning 1
)
select count(*) from forgotten;

-- name: expired_among
select id from deployment where id = any(:ids::text[]) and expired_at is not null;

-- name: claim_run$
insert into collection_run (name, last_at) values ('retention', now())
on conflict (name) do update set last_at = now()
  where collection_run.last_at < now() - make_interval(secs => :interval)
returning true;

-- name: count_removed!
insert into removal (name, removed, last_at) values (:name, :count, now())
on conflict (name) do update set removed = removal.removed + excluded.removed, last_at = excluded.last_at;
