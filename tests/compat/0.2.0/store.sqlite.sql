-- A prediction store as 0.2.0 makes it, with rows in every table. Never changed once that is released.
BEGIN TRANSACTION;
CREATE TABLE assessments (
	id VARCHAR NOT NULL, 
	usecase VARCHAR NOT NULL, 
	environment VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	time DATETIME NOT NULL, 
	window_start DATETIME NOT NULL, 
	window_end DATETIME NOT NULL, 
	status VARCHAR NOT NULL, 
	summary TEXT NOT NULL, 
	value FLOAT, 
	threshold FLOAT, 
	detail TEXT, 
	report_path TEXT, 
	bento VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "assessments" VALUES('tiny-table.staging.inputs','tiny-table','staging','inputs','2026-11-21 12:00:00.000000','2026-11-20 12:00:00.000000','2026-11-21 12:00:00.000000','alert','ß fine',0.3,0.2,'{"columns":{"distance":0.1}}',NULL,'tiny-table:7');
INSERT INTO "assessments" VALUES('tiny-table.staging.quality','tiny-table','staging','quality','2026-11-21 12:00:00.000000','2026-11-20 12:00:00.000000','2026-11-21 12:00:00.000000','ok','ß fine',NULL,0.2,'{"columns":{"distance":0.1}}',NULL,'tiny-table:7');
CREATE TABLE bentos (
	bento VARCHAR NOT NULL, 
	usecase VARCHAR NOT NULL, 
	signature TEXT, 
	last_seen DATETIME NOT NULL, 
	PRIMARY KEY (bento)
);
INSERT INTO "bentos" VALUES('tiny-table:7','tiny-table','{"classes":[false,true]}','2026-11-21 12:00:00.000000');
CREATE TABLE key_labels (
	usecase VARCHAR NOT NULL, 
	join_key TEXT NOT NULL, 
	value TEXT, 
	observed_at DATETIME NOT NULL, 
	received DATETIME NOT NULL, 
	source VARCHAR NOT NULL, 
	PRIMARY KEY (usecase, join_key)
);
INSERT INTO "key_labels" VALUES('tiny-table','UA1','true','2026-11-21 12:00:00.000000','2026-11-21 12:00:00.000000','import');
INSERT INTO "key_labels" VALUES('tiny-table','UA9','false','2026-11-21 12:00:00.000000','2026-11-21 12:00:00.000000','import');
CREATE TABLE label_conflicts (
	id VARCHAR NOT NULL, 
	usecase VARCHAR NOT NULL, 
	prediction_id VARCHAR, 
	join_key TEXT, 
	kept TEXT, 
	refused TEXT, 
	observed_at DATETIME NOT NULL, 
	received DATETIME NOT NULL, 
	source VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "label_conflicts" VALUES('a587f9ec4e835741c9275cf835fe6c62','tiny-table','tiny-table.7.a',NULL,'true','false','2026-11-21 11:59:00.000000','2026-11-21 12:01:00.000000','api');
INSERT INTO "label_conflicts" VALUES('9e2b04ce6f74f638bd0a822787ec47b2','tiny-table',NULL,'UA1','true','false','2026-11-21 12:00:00.000000','2026-11-21 12:00:00.000000','import');
CREATE TABLE labels (
	prediction_id VARCHAR NOT NULL, 
	usecase VARCHAR NOT NULL, 
	value TEXT, 
	observed_at DATETIME NOT NULL, 
	received DATETIME NOT NULL, 
	source VARCHAR NOT NULL, 
	PRIMARY KEY (prediction_id)
);
INSERT INTO "labels" VALUES('tiny-table.7.a','tiny-table','true','2026-11-21 11:59:00.000000','2026-11-21 12:00:00.000000','api');
INSERT INTO "labels" VALUES('tiny-table.7.b','tiny-table','false','2026-11-21 11:59:00.000000','2026-11-21 12:00:00.000000','api');
INSERT INTO "labels" VALUES('tiny-table.7.early','tiny-table','"Ankle boot"','2026-11-21 11:59:00.000000','2026-11-21 12:00:00.000000','api');
INSERT INTO "labels" VALUES('tiny-table.7.number','tiny-table','2.5','2026-11-21 11:59:00.000000','2026-11-21 12:00:00.000000','api');
INSERT INTO "labels" VALUES('tiny-table.7.01a21e668616000000000097bf','tiny-table','true','2026-11-21 12:00:00.000000','2026-11-21 12:00:00.000000','import');
INSERT INTO "labels" VALUES('tiny-table.7.c','tiny-table','true','2026-11-21 12:00:00.000000','2026-11-21 12:00:00.000000','import');
CREATE TABLE losses (
	id VARCHAR NOT NULL, 
	usecase VARCHAR NOT NULL, 
	environment VARCHAR NOT NULL, 
	time DATETIME NOT NULL, 
	reason VARCHAR NOT NULL, 
	count INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "losses" VALUES('096b2280428c6161dec677ba965bc6d1.torn','tiny-table','staging','2026-11-21 12:00:00.000000','torn',1);
INSERT INTO "losses" VALUES('one','tiny-table','production','2026-11-21 12:00:00.000000','malformed',3);
CREATE TABLE predictions (
	id VARCHAR NOT NULL, 
	usecase VARCHAR NOT NULL, 
	environment VARCHAR NOT NULL, 
	bento VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	"commit" VARCHAR, 
	run VARCHAR NOT NULL, 
	time DATETIME NOT NULL, 
	inputs TEXT, 
	output TEXT, 
	label TEXT, 
	confidence FLOAT, 
	value FLOAT, 
	join_key TEXT, 
	received DATETIME NOT NULL, 
	sample BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "predictions" VALUES('tiny-table.7.01a21e668616000000000097bf','tiny-table','staging','tiny-table:7','tiny-table/7','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr','2026-11-19 12:00:00.000000','{"distance":1,"temperature":null,"origin":"EWR","carrier":"UA"}','{"label":true,"probabilities":{"false":0.2,"true":0.8}}','true',0.8,NULL,'UA1','2026-11-21 12:00:00.000000',2163799493);
INSERT INTO "predictions" VALUES('tiny-table.7.01a21e668616000000000097c0','tiny-table','staging','tiny-table:7','tiny-table/7','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr','2026-11-19 12:00:00.000000','{"distance":1400,"temperature":null,"origin":"ß✈ ''quoted'' \"double\" \\ %s :name \n","carrier":"UA"}','{"label":true,"probabilities":{"false":0.2,"true":0.8}}','true',0.8,NULL,'UA2','2026-11-21 12:00:00.000000',3097294651);
INSERT INTO "predictions" VALUES('tiny-table.7.01a21e668616000000000097c1','tiny-table','staging','tiny-table:7','tiny-table/7','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr','2026-11-21 11:00:00.000000','{"distance":null,"temperature":null,"origin":"EWR","carrier":"UA"}','{"label":true,"probabilities":{"false":0.2,"true":0.8}}','true',0.8,NULL,NULL,'2026-11-21 12:00:00.000000',138780852);
INSERT INTO "predictions" VALUES('tiny-table.7.a','tiny-table','production','tiny-table:7','tiny-table/7',NULL,'run','2026-11-21 11:54:59.999993','{"distance":1e+300,"list":[1,2],"text":"3","none":null}','{"label":true,"probabilities":{"false":0.25,"true":0.75}}','true',0.75,NULL,'UA3','2026-11-21 12:00:00.000000',2341456637);
INSERT INTO "predictions" VALUES('tiny-table.7.b','tiny-table','production','tiny-table:7','tiny-table/7',NULL,'run','2026-11-21 11:54:59.999993','{"distance":1e+300,"list":[1,2],"text":"3","none":null}','{"label":true,"probabilities":{"false":0.25,"true":0.75}}','true',0.75,NULL,NULL,'2026-11-21 12:00:00.000000',3504005321);
INSERT INTO "predictions" VALUES('tiny-table.7.c','tiny-table','production','tiny-table:7','tiny-table/7',NULL,'run','2026-11-21 11:54:59.999993','{"distance":1e+300,"list":[1,2],"text":"3","none":null}','{"label":true,"probabilities":{"false":0.25,"true":0.75}}','true',0.75,2.5,'UA1','2026-11-21 12:00:00.000000',1616655423);
CREATE TABLE store_revision (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT store_revision_pkc PRIMARY KEY (version_num)
);
INSERT INTO "store_revision" VALUES('0002');
CREATE TABLE trigger_causes (
	"trigger" VARCHAR(120) NOT NULL, 
	fingerprint VARCHAR(200) NOT NULL, 
	PRIMARY KEY ("trigger", fingerprint)
);
INSERT INTO "trigger_causes" VALUES('tiny-table-20261121-120000-000001','psi');
INSERT INTO "trigger_causes" VALUES('small-20261121-120000-000002','by hand');
INSERT INTO "trigger_causes" VALUES('tiny-table-20261121-120000-000003','accuracy');
INSERT INTO "trigger_causes" VALUES('tiny-table-20261121-120000-000003','d1');
CREATE TABLE trigger_marks (
	usecase VARCHAR(40) NOT NULL, 
	environment VARCHAR(40) NOT NULL, 
	kind VARCHAR(20) NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (usecase, environment, kind)
);
INSERT INTO "trigger_marks" VALUES('tiny-table','staging','schedule','2026-11-21T03:00:00Z');
CREATE TABLE triggers (
	id VARCHAR(120) NOT NULL, 
	usecase VARCHAR(40) NOT NULL, 
	environment VARCHAR(40) NOT NULL, 
	reason VARCHAR(20) NOT NULL, 
	evidence TEXT NOT NULL, 
	fingerprint TEXT NOT NULL, 
	forced BOOLEAN NOT NULL, 
	requested_at DATETIME NOT NULL, 
	state VARCHAR(10) NOT NULL, 
	attempts INTEGER NOT NULL, 
	next_attempt DATETIME NOT NULL, 
	joined INTEGER NOT NULL, 
	run_id VARCHAR(120), 
	owner TEXT, 
	heartbeat DATETIME, 
	started_at DATETIME, 
	ended_at DATETIME, 
	note TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "triggers" VALUES('tiny-table-20261121-120000-000001','tiny-table','staging','drift','temperature psi 3.10 > 0.2','psi',0,'2026-11-21 12:00:00.000000','released',1,'2026-11-21 12:00:00.000000',0,'tiny-table-run-1','monitor-1','2026-11-21 12:00:00.000000','2026-11-21 12:00:00.000000','2026-11-21 12:03:00.000000','ok');
INSERT INTO "triggers" VALUES('small-20261121-120000-000002','small','staging','manual','temperature psi 3.10 > 0.2','by hand',1,'2026-11-21 12:00:00.000000','running',1,'2026-11-21 12:00:00.000000',0,NULL,'monitor-1','2026-11-21 12:00:00.000000','2026-11-21 12:00:00.000000',NULL,NULL);
INSERT INTO "triggers" VALUES('tiny-table-20261121-120000-000003','tiny-table','staging','quality','temperature psi 3.10 > 0.2','accuracy',0,'2026-11-21 12:00:00.000000','waiting',0,'2026-11-21 12:00:00.000000',1,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "triggers" VALUES('quiet-20261121-120000-000004','quiet','staging','drift','x','x',0,'2026-11-21 12:00:00.000000','refused',0,'2026-11-21 12:00:00.000000',0,NULL,NULL,NULL,NULL,'2026-11-21 12:00:00.000000','retrain.on in usecase.yaml does not name drift');
CREATE INDEX predictions_by_time ON predictions (usecase, environment, time, bento, sample);
CREATE INDEX predictions_by_key ON predictions (usecase, join_key);
CREATE INDEX labels_by_received ON labels (usecase, received);
CREATE INDEX label_conflicts_by_usecase ON label_conflicts (usecase, received);
CREATE INDEX losses_by_usecase ON losses (usecase, environment, time);
CREATE INDEX assessments_by_time ON assessments (usecase, environment, kind, time);
CREATE UNIQUE INDEX one_waits ON triggers (usecase, environment) WHERE state IN ('waiting', 'cooling');
CREATE UNIQUE INDEX one_run_at_a_time ON triggers (usecase) WHERE state = 'running';
CREATE INDEX triggers_by_time ON triggers (usecase, requested_at);
COMMIT;
