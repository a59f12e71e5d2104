-- name: is_wanted$
select exists (select from hostname_on_cloudflare where hostname = :hostname);

-- name: known^
select coalesce(cloudflare_id, '') as id, state from custom_hostname where hostname = :hostname;

-- name: expect!
insert into custom_hostname (hostname) values (:hostname) on conflict do nothing;

-- name: note!
update custom_hostname set cloudflare_id = :id, state = :state, records = :records::jsonb where hostname = :hostname;

-- name: forget!
-- Where the domain leads now is looked at next.
with forgotten as (delete from custom_hostname where hostname = :hostname)
update domain set next_try_at = clock_timestamp() where hostname = :hostname and state in ('verified', 'active');
