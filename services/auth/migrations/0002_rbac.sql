-- One row. Its number rises with every change after which a decision may be another one; gateways keep decisions by it. Triggers raise it,
-- so that no change is forgotten, not even one that is made by hand.
CREATE TABLE policy (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    version bigint  NOT NULL
);
INSERT INTO policy (version) VALUES (1);

CREATE FUNCTION policy_changed() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE policy SET version = version + 1;
    RETURN NULL;
END $$;

CREATE TABLE tenants (
    name          text   PRIMARY KEY,
    state         text   NOT NULL CHECK (state IN ('active', 'suspended', 'deleting', 'deleted')),
    reason        text   NOT NULL DEFAULT '',
    created_at_ms bigint NOT NULL,
    delete_at_ms  bigint              -- set while it is being deleted; the name of a deleted one is never given again
);
INSERT INTO tenants (name, state, created_at_ms)
    SELECT name, 'active', 0 FROM (SELECT 'default' AS name UNION SELECT tenant FROM tokens) AS known;

CREATE TABLE roles ( -- custom ones; those that are built in are in permission.c
    tenant      text   NOT NULL,
    name        text   NOT NULL,
    description text   NOT NULL,
    permissions text[] NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE bindings (
    id            uuid   PRIMARY KEY,
    tenant        text   NOT NULL,
    principal     text   NOT NULL, -- user:NAME, group:NAME, service-account:NAME
    role          text   NOT NULL,
    created_by    text   NOT NULL,
    created_at_ms bigint NOT NULL,
    UNIQUE (tenant, principal, role)
);

CREATE TABLE group_members (
    tenant        text   NOT NULL,
    group_name    text   NOT NULL,
    member        text   NOT NULL, -- user:NAME, service-account:NAME
    added_by      text   NOT NULL,
    added_at_ms   bigint NOT NULL,
    PRIMARY KEY (tenant, group_name, member)
);
CREATE INDEX group_members_of ON group_members (tenant, member);

CREATE TABLE service_accounts (
    tenant        text   NOT NULL,
    name          text   NOT NULL,
    description   text   NOT NULL,
    created_by    text   NOT NULL,
    created_at_ms bigint NOT NULL,
    PRIMARY KEY (tenant, name)
);

-- Who has which role, groups resolved.
CREATE VIEW holdings AS
    SELECT tenant, principal AS subject, role FROM bindings
    UNION
    SELECT m.tenant, m.member, b.role FROM group_members m
        JOIN bindings b ON b.tenant = m.tenant AND b.principal = 'group:' || m.group_name;

-- A token that is scoped may do what its subject may, as far as it is among `permissions`; another one exactly those.
ALTER TABLE tokens
    ADD COLUMN id            uuid    NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    ADD COLUMN name          text    NOT NULL DEFAULT '',
    ADD COLUMN scoped        boolean NOT NULL DEFAULT false,
    ADD COLUMN created_by    text    NOT NULL DEFAULT '',
    ADD COLUMN revoked_at_ms bigint;
CREATE INDEX tokens_of ON tokens (tenant, id);

-- Nothing in it is ever changed or taken away.
CREATE TABLE audit (
    id      bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at_ms   bigint NOT NULL,
    tenant  text   NOT NULL, -- empty: nobody's, for example a token that is not known
    actor   text   NOT NULL,
    action  text   NOT NULL,
    target  text   NOT NULL,
    outcome text   NOT NULL CHECK (outcome IN ('done', 'refused')),
    detail  text   NOT NULL,
    count   bigint NOT NULL, -- refusals of one kind are one row
    trace   text   NOT NULL
);
CREATE INDEX audit_of ON audit (tenant, id);
CREATE INDEX audit_refused ON audit (at_ms) WHERE outcome = 'refused';

CREATE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is only ever added to';
END $$;
CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_stays();

-- A new token needs none: nobody has a decision on it that lasts.
CREATE TRIGGER policy_tokens AFTER DELETE OR UPDATE OF subject, tenant, permissions, scoped, expires_at_ms, revoked_at_ms ON tokens
    FOR EACH STATEMENT EXECUTE FUNCTION policy_changed();
CREATE TRIGGER policy_tenants AFTER INSERT OR UPDATE OR DELETE ON tenants FOR EACH STATEMENT EXECUTE FUNCTION policy_changed();
CREATE TRIGGER policy_roles AFTER INSERT OR UPDATE OR DELETE ON roles FOR EACH STATEMENT EXECUTE FUNCTION policy_changed();
CREATE TRIGGER policy_bindings AFTER INSERT OR UPDATE OR DELETE ON bindings FOR EACH STATEMENT EXECUTE FUNCTION policy_changed();
CREATE TRIGGER policy_group_members AFTER INSERT OR UPDATE OR DELETE ON group_members FOR EACH STATEMENT EXECUTE FUNCTION policy_changed();
