-- A binding holds in the whole tenant, or in a part of it: a project, or a pipeline. Those that hold in a part are in no place where it is
-- asked what somebody may do in the tenant.
ALTER TABLE bindings
    ADD COLUMN project  text NOT NULL DEFAULT '',
    ADD COLUMN pipeline text NOT NULL DEFAULT '',
    ADD CHECK (project = '' OR pipeline = ''),
    DROP CONSTRAINT bindings_tenant_principal_role_key,
    ADD UNIQUE (tenant, principal, role, project, pipeline);

CREATE VIEW part_holdings AS
    SELECT tenant, principal AS subject, role, project, pipeline FROM bindings WHERE project <> '' OR pipeline <> ''
    UNION
    SELECT m.tenant, m.member, b.role, b.project, b.pipeline FROM group_members m
        JOIN bindings b ON b.tenant = m.tenant AND b.principal = 'group:' || m.group_name
        WHERE b.project <> '' OR b.pipeline <> '';

CREATE OR REPLACE VIEW holdings AS
    SELECT tenant, principal AS subject, role FROM bindings WHERE project = '' AND pipeline = ''
    UNION
    SELECT m.tenant, m.member, b.role FROM group_members m
        JOIN bindings b ON b.tenant = m.tenant AND b.principal = 'group:' || m.group_name
        WHERE b.project = '' AND b.pipeline = '';
