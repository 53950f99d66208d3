-- A ledger of version 1: what six calls, a crash and another one left.
PRAGMA application_id = 1400140366;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE accounts (
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    window TEXT NOT NULL,
    spent INTEGER NOT NULL CHECK (spent >= 0),
    reserved INTEGER NOT NULL CHECK (reserved >= 0),
    uncertain INTEGER NOT NULL CHECK (uncertain >= 0),
    PRIMARY KEY (scope, name, window)
) STRICT, WITHOUT ROWID;
INSERT INTO "accounts" VALUES('all','','2026-09',792000,55000000,55000000);
INSERT INTO "accounts" VALUES('all','','2026-09-21',792000,55000000,55000000);
INSERT INTO "accounts" VALUES('endpoint','sim','2026-09',792000,55000000,55000000);
INSERT INTO "accounts" VALUES('endpoint','sim','2026-09-21',792000,55000000,55000000);
INSERT INTO "accounts" VALUES('model','sim/fast','2026-09',792000,0,0);
INSERT INTO "accounts" VALUES('model','sim/fast','2026-09-21',792000,0,0);
INSERT INTO "accounts" VALUES('model','sim/gpt-4.1','2026-09',0,55000000,55000000);
INSERT INTO "accounts" VALUES('model','sim/gpt-4.1','2026-09-21',0,55000000,55000000);
INSERT INTO "accounts" VALUES('tenant','','2026-09',396000,55000000,55000000);
INSERT INTO "accounts" VALUES('tenant','','2026-09-21',396000,55000000,55000000);
INSERT INTO "accounts" VALUES('tenant','acme','2026-09',396000,0,0);
INSERT INTO "accounts" VALUES('tenant','acme','2026-09-21',396000,0,0);
CREATE TABLE alerts (key TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE attempts (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    request INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    model TEXT NOT NULL,
    tenant TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    at REAL NOT NULL,
    day TEXT NOT NULL,
    reserved INTEGER NOT NULL CHECK (reserved >= 0),
    estimate INTEGER NOT NULL CHECK (estimate >= reserved),
    state TEXT NOT NULL CHECK (state IN ('sending', 'settled', 'released', 'uncertain')),
    billed INTEGER NOT NULL CHECK (billed >= 0),
    input_tokens INTEGER NOT NULL CHECK (input_tokens >= 0),
    output_tokens INTEGER NOT NULL CHECK (output_tokens >= 0),
    flags TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "attempts" VALUES('2b511436e414fd0d-1','2b511436e414fd0d',1,1,'sim/fast','','sim',1790000000.0,'2026-09-21',0,45000,'settled',44000,4,4,'');
INSERT INTO "attempts" VALUES('2b511436e414fd0d-2','2b511436e414fd0d',2,1,'sim/fast','','sim',1790000000.0,'2026-09-21',0,45000,'settled',44000,4,4,'');
INSERT INTO "attempts" VALUES('2b511436e414fd0d-3','2b511436e414fd0d',3,1,'sim/fast','','sim',1790000000.0,'2026-09-21',0,45000,'settled',44000,4,4,'');
INSERT INTO "attempts" VALUES('2b511436e414fd0d-4','2b511436e414fd0d',4,1,'sim/fast','acme','sim',1790000000.0,'2026-09-21',0,45000,'settled',44000,4,4,'');
INSERT INTO "attempts" VALUES('2b511436e414fd0d-5','2b511436e414fd0d',5,1,'sim/fast','acme','sim',1790000000.0,'2026-09-21',0,45000,'settled',44000,4,4,'');
INSERT INTO "attempts" VALUES('2b511436e414fd0d-6','2b511436e414fd0d',6,1,'sim/fast','acme','sim',1790000000.0,'2026-09-21',0,45000,'settled',44000,4,4,'');
INSERT INTO "attempts" VALUES('4664116cdf4f4667-1','4664116cdf4f4667',1,1,'sim/fast','','sim',1790000000.0,'2026-09-21',0,45000,'settled',44000,4,4,'');
INSERT INTO "attempts" VALUES('4664116cdf4f4667-2','4664116cdf4f4667',2,1,'sim/fast','','sim',1790000000.0,'2026-09-21',0,45000,'settled',44000,4,4,'');
INSERT INTO "attempts" VALUES('4664116cdf4f4667-3','4664116cdf4f4667',3,1,'sim/fast','','sim',1790000000.0,'2026-09-21',0,45000,'settled',44000,4,4,'');
INSERT INTO "attempts" VALUES('4664116cdf4f4667-4','4664116cdf4f4667',4,1,'sim/fast','acme','sim',1790000000.0,'2026-09-21',0,45000,'settled',44000,4,4,'');
INSERT INTO "attempts" VALUES('4664116cdf4f4667-5','4664116cdf4f4667',5,1,'sim/fast','acme','sim',1790000000.0,'2026-09-21',0,45000,'settled',44000,4,4,'');
INSERT INTO "attempts" VALUES('4664116cdf4f4667-6','4664116cdf4f4667',6,1,'sim/fast','acme','sim',1790000000.0,'2026-09-21',0,45000,'settled',44000,4,4,'');
INSERT INTO "attempts" VALUES('4664116cdf4f4667-7','4664116cdf4f4667',7,1,'sim/gpt-4.1','','sim',1790000000.0,'2026-09-21',55000000,55000000,'sending',0,0,0,'');
INSERT INTO "attempts" VALUES('f1a8d2a99a050a56-1','f1a8d2a99a050a56',1,1,'sim/fast','','sim',1790000000.0,'2026-09-21',0,45000,'settled',44000,4,4,'');
INSERT INTO "attempts" VALUES('f1a8d2a99a050a56-2','f1a8d2a99a050a56',2,1,'sim/fast','','sim',1790000000.0,'2026-09-21',0,45000,'settled',44000,4,4,'');
INSERT INTO "attempts" VALUES('f1a8d2a99a050a56-3','f1a8d2a99a050a56',3,1,'sim/fast','','sim',1790000000.0,'2026-09-21',0,45000,'settled',44000,4,4,'');
INSERT INTO "attempts" VALUES('f1a8d2a99a050a56-4','f1a8d2a99a050a56',4,1,'sim/fast','acme','sim',1790000000.0,'2026-09-21',0,45000,'settled',44000,4,4,'');
INSERT INTO "attempts" VALUES('f1a8d2a99a050a56-5','f1a8d2a99a050a56',5,1,'sim/fast','acme','sim',1790000000.0,'2026-09-21',0,45000,'settled',44000,4,4,'');
INSERT INTO "attempts" VALUES('f1a8d2a99a050a56-6','f1a8d2a99a050a56',6,1,'sim/fast','acme','sim',1790000000.0,'2026-09-21',0,45000,'settled',44000,4,4,'');
INSERT INTO "attempts" VALUES('f1a8d2a99a050a56-7','f1a8d2a99a050a56',7,1,'sim/gpt-4.1','','sim',1790000000.0,'2026-09-21',0,55000000,'uncertain',0,0,0,'');
CREATE TABLE owners (
    id TEXT PRIMARY KEY,
    pid INTEGER NOT NULL,
    started TEXT NOT NULL,
    boot TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "owners" VALUES('4664116cdf4f4667',24957,'1190875','00000000-0000-0000-0000-000000000000');
CREATE INDEX attempts_under_way ON attempts (state, owner)
    WHERE state IN ('sending', 'uncertain');
CREATE INDEX attempts_by_day ON attempts (day);
COMMIT;
