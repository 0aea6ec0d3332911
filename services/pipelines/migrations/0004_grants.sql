-- How many pipelines a tenant may have, by quota's grants; -1: no limit. A tenant without a row has none either.
CREATE TABLE grants (
    tenant    text   PRIMARY KEY COLLATE "C",
    version   bigint NOT NULL,
    pipelines bigint NOT NULL
);
