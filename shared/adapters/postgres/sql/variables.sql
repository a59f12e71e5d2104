-- name: change$
select change_variables(:project_id, :changes, :replace, :most, :most_bytes);

-- name: listed
select name, extract(epoch from updated_at)::float8 as updated_at
from project_variable where project_id = :project_id order by name;
