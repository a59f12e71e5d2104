-- name: create$
insert into api_key (id, name, hash, scopes, organization_id, user_id)
values (:id, :name, :hash, :scopes, :organization_id, :user_id)
returning id;

-- name: find^
select id, name, scopes, organization_id, user_id, extract(epoch from expires_at)::float8 as expires_at
from api_key
where hash = :hash and revoked_at is null and (expires_at is null or expires_at > now());
