-- Rows as queries read them; made last, since they may use any function.

drop view if exists shown_domain;
drop view if exists hostname_on_cloudflare;
drop view if exists domain_target;
drop view if exists served_project;
drop function if exists serving_target;

-- How a project is served: under which name, by which settings, and where, which its pointer says as soon as there is
-- a release.
create view served_project as
  select p.id as project_id, coalesce(s.name, site_name(p.id)) as site, coalesce(t.settings, '{}') as settings,
    coalesce(d.target, t.settings ->> 'target', 'local') as target
  from project p
  left join site s on s.project_id = p.id
  left join release r on r.id = s.release_id
  left join deployment d on d.id = r.deployment_id
  left join project_settings t on t.project_id = p.id;

-- Names that Cloudflare is to serve: their owner is proved.
create view hostname_on_cloudflare as
  select d.hostname, d.project_id
  from domain d join served_project p on p.project_id = d.project_id
  where d.state in ('verified', 'active') and p.target = 'cloudflare';

create view shown_domain as
  select d.hostname, d.project_id, d.state, d.token, d.fault, d.tries,
    extract(epoch from clock_timestamp() - d.asked_at)::float8 as asked_seconds,
    extract(epoch from clock_timestamp() - d.checked_at)::float8 as checked_seconds,
    extract(epoch from d.next_try_at)::float8 as next_try_at,
    extract(epoch from d.created_at)::float8 as created_at,
    extract(epoch from d.verified_at)::float8 as verified_at,
    p.site, p.target,
    case when h.hostname is not null then jsonb_build_object('state', h.state, 'records', h.records) end as cloudflare
  from domain d
  join served_project p on p.project_id = d.project_id
  left join hostname_on_cloudflare c on c.hostname = d.hostname and c.project_id = d.project_id
  left join custom_hostname h on h.hostname = c.hostname;
