-- Keys that sign access tokens. One signs from signs_from_ms until the next one does; it stays known until its last token is over.
CREATE TABLE signing_keys (
    kid            text   PRIMARY KEY,   -- thumbprint of the public key
    public_key     bytea  NOT NULL CHECK (octet_length(public_key) = 32),
    private_key    bytea  NOT NULL,      -- 32 bytes, or with sealed: nonce, AES-256-GCM of them, tag
    sealed         boolean NOT NULL,
    created_at_ms  bigint NOT NULL,
    signs_from_ms  bigint NOT NULL
);

CREATE TABLE users (
    tenant            text   NOT NULL,
    name              text   NOT NULL,
    password_hash     bytea  NOT NULL CHECK (octet_length(password_hash) = 32), -- scrypt by the next four columns
    password_salt     bytea  NOT NULL CHECK (octet_length(password_salt) = 16),
    scrypt_log2_n     integer NOT NULL,
    scrypt_r          integer NOT NULL,
    scrypt_p          integer NOT NULL,
    disabled          boolean NOT NULL DEFAULT false,
    created_at_ms     bigint NOT NULL,
    password_at_ms    bigint NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE INDEX users_disabled ON users (tenant, name) WHERE disabled; -- few, and asked for with every token

-- A login. A refresh token has the session's id and two secrets: the family's stays, the other one changes at each refresh.
CREATE TABLE sessions (
    id              uuid   PRIMARY KEY,
    tenant          text   NOT NULL,
    user_name       text   NOT NULL,
    family_sha256   bytea  NOT NULL CHECK (octet_length(family_sha256) = 32),
    refresh_sha256  bytea  NOT NULL CHECK (octet_length(refresh_sha256) = 32),
    address         text   NOT NULL,      -- where it was begun
    created_at_ms   bigint NOT NULL,
    refreshed_at_ms bigint NOT NULL,
    expires_at_ms   bigint NOT NULL,      -- unless it is refreshed
    FOREIGN KEY (tenant, user_name) REFERENCES users ON DELETE CASCADE
);
CREATE INDEX sessions_of_user ON sessions (tenant, user_name);
CREATE INDEX sessions_by_end ON sessions (expires_at_ms);

-- Failed logins by account and address, of names that are nobody's too; and where an account has logged in before.
CREATE TABLE login_addresses (
    tenant        text   NOT NULL,
    name          text   NOT NULL,
    prefix        text   NOT NULL,        -- of the address: /24, or /64 of IPv6
    failures      integer NOT NULL,       -- in a row
    failed_at_ms  bigint NOT NULL,        -- the last of them
    good_at_ms    bigint,                 -- the last login that went well; NULL: none
    PRIMARY KEY (tenant, name, prefix)
);
CREATE INDEX login_addresses_by_time ON login_addresses (failed_at_ms);

-- A decision is another one when a session ends before its time, when a user is disabled, and when a key is taken away.
CREATE TRIGGER policy_sessions AFTER DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION policy_changed();
CREATE TRIGGER policy_users AFTER DELETE OR UPDATE OF disabled ON users FOR EACH ROW EXECUTE FUNCTION policy_changed();
CREATE TRIGGER policy_keys AFTER DELETE ON signing_keys FOR EACH ROW EXECUTE FUNCTION policy_changed();
