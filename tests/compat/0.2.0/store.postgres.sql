-- A prediction store as 0.2.0 makes it, with rows in every table. Never changed once that is released.
CREATE TABLE public.assessments (
    id character varying NOT NULL,
    usecase character varying NOT NULL,
    environment character varying NOT NULL,
    kind character varying NOT NULL,
    "time" timestamp with time zone NOT NULL,
    window_start timestamp with time zone NOT NULL,
    window_end timestamp with time zone NOT NULL,
    status character varying NOT NULL,
    summary text NOT NULL,
    value double precision,
    threshold double precision,
    detail jsonb,
    report_path text,
    bento character varying NOT NULL
);
CREATE TABLE public.bentos (
    bento character varying NOT NULL,
    usecase character varying NOT NULL,
    signature jsonb,
    last_seen timestamp with time zone NOT NULL
);
CREATE TABLE public.key_labels (
    usecase character varying NOT NULL,
    join_key text NOT NULL,
    value jsonb,
    observed_at timestamp with time zone NOT NULL,
    received timestamp with time zone NOT NULL,
    source character varying NOT NULL
);
CREATE TABLE public.label_conflicts (
    id character varying NOT NULL,
    usecase character varying NOT NULL,
    prediction_id character varying,
    join_key text,
    kept jsonb,
    refused jsonb,
    observed_at timestamp with time zone NOT NULL,
    received timestamp with time zone NOT NULL,
    source character varying NOT NULL
);
CREATE TABLE public.labels (
    prediction_id character varying NOT NULL,
    usecase character varying NOT NULL,
    value jsonb,
    observed_at timestamp with time zone NOT NULL,
    received timestamp with time zone NOT NULL,
    source character varying NOT NULL
);
CREATE TABLE public.losses (
    id character varying NOT NULL,
    usecase character varying NOT NULL,
    environment character varying NOT NULL,
    "time" timestamp with time zone NOT NULL,
    reason character varying NOT NULL,
    count integer NOT NULL
);
CREATE TABLE public.predictions (
    id character varying NOT NULL,
    usecase character varying NOT NULL,
    environment character varying NOT NULL,
    bento character varying NOT NULL,
    model character varying NOT NULL,
    commit character varying,
    run character varying NOT NULL,
    "time" timestamp with time zone NOT NULL,
    inputs jsonb,
    output jsonb,
    label text,
    confidence double precision,
    value double precision,
    join_key text,
    received timestamp with time zone NOT NULL,
    sample bigint NOT NULL
);
CREATE TABLE public.store_revision (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.trigger_causes (
    trigger character varying(120) NOT NULL,
    fingerprint character varying(200) NOT NULL
);
CREATE TABLE public.trigger_marks (
    usecase character varying(40) NOT NULL,
    environment character varying(40) NOT NULL,
    kind character varying(20) NOT NULL,
    value text NOT NULL
);
CREATE TABLE public.triggers (
    id character varying(120) NOT NULL,
    usecase character varying(40) NOT NULL,
    environment character varying(40) NOT NULL,
    reason character varying(20) NOT NULL,
    evidence text NOT NULL,
    fingerprint text NOT NULL,
    forced boolean NOT NULL,
    requested_at timestamp with time zone NOT NULL,
    state character varying(10) NOT NULL,
    attempts integer NOT NULL,
    next_attempt timestamp with time zone NOT NULL,
    joined integer NOT NULL,
    run_id character varying(120),
    owner text,
    heartbeat timestamp with time zone,
    started_at timestamp with time zone,
    ended_at timestamp with time zone,
    note text
);
INSERT INTO public.assessments VALUES ('tiny-table.staging.inputs', 'tiny-table', 'staging', 'inputs', '2026-11-21 12:00:00+00', '2026-11-20 12:00:00+00', '2026-11-21 12:00:00+00', 'alert', 'ß fine', 0.3, 0.2, '{"columns": {"distance": 0.1}}', NULL, 'tiny-table:7');
INSERT INTO public.assessments VALUES ('tiny-table.staging.quality', 'tiny-table', 'staging', 'quality', '2026-11-21 12:00:00+00', '2026-11-20 12:00:00+00', '2026-11-21 12:00:00+00', 'ok', 'ß fine', NULL, 0.2, '{"columns": {"distance": 0.1}}', NULL, 'tiny-table:7');
INSERT INTO public.bentos VALUES ('tiny-table:7', 'tiny-table', '{"classes": [false, true]}', '2026-11-21 12:00:00+00');
INSERT INTO public.key_labels VALUES ('tiny-table', 'UA1', 'true', '2026-11-21 12:00:00+00', '2026-11-21 12:00:00+00', 'import');
INSERT INTO public.key_labels VALUES ('tiny-table', 'UA9', 'false', '2026-11-21 12:00:00+00', '2026-11-21 12:00:00+00', 'import');
INSERT INTO public.label_conflicts VALUES ('a587f9ec4e835741c9275cf835fe6c62', 'tiny-table', 'tiny-table.7.a', NULL, 'true', 'false', '2026-11-21 11:59:00+00', '2026-11-21 12:01:00+00', 'api');
INSERT INTO public.label_conflicts VALUES ('9e2b04ce6f74f638bd0a822787ec47b2', 'tiny-table', NULL, 'UA1', 'true', 'false', '2026-11-21 12:00:00+00', '2026-11-21 12:00:00+00', 'import');
INSERT INTO public.labels VALUES ('tiny-table.7.a', 'tiny-table', 'true', '2026-11-21 11:59:00+00', '2026-11-21 12:00:00+00', 'api');
INSERT INTO public.labels VALUES ('tiny-table.7.b', 'tiny-table', 'false', '2026-11-21 11:59:00+00', '2026-11-21 12:00:00+00', 'api');
INSERT INTO public.labels VALUES ('tiny-table.7.early', 'tiny-table', '"Ankle boot"', '2026-11-21 11:59:00+00', '2026-11-21 12:00:00+00', 'api');
INSERT INTO public.labels VALUES ('tiny-table.7.number', 'tiny-table', '2.5', '2026-11-21 11:59:00+00', '2026-11-21 12:00:00+00', 'api');
INSERT INTO public.labels VALUES ('tiny-table.7.01a21e669d4b00000000007e7a', 'tiny-table', 'true', '2026-11-21 12:00:00+00', '2026-11-21 12:00:00+00', 'import');
INSERT INTO public.labels VALUES ('tiny-table.7.c', 'tiny-table', 'true', '2026-11-21 12:00:00+00', '2026-11-21 12:00:00+00', 'import');
INSERT INTO public.losses VALUES ('93ade53198c9db8656a7de62eb1a9584.torn', 'tiny-table', 'staging', '2026-11-21 12:00:00+00', 'torn', 1);
INSERT INTO public.losses VALUES ('one', 'tiny-table', 'production', '2026-11-21 12:00:00+00', 'malformed', 3);
INSERT INTO public.predictions VALUES ('tiny-table.7.01a21e669d4b00000000007e7a', 'tiny-table', 'staging', 'tiny-table:7', 'tiny-table/7', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr', '2026-11-19 12:00:00+00', '{"origin": "EWR", "carrier": "UA", "distance": 1, "temperature": null}', '{"label": true, "probabilities": {"true": 0.8, "false": 0.2}}', 'true', 0.8, NULL, 'UA1', '2026-11-21 12:00:00+00', 1560357218);
INSERT INTO public.predictions VALUES ('tiny-table.7.01a21e669d4b00000000007e7b', 'tiny-table', 'staging', 'tiny-table:7', 'tiny-table/7', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr', '2026-11-19 12:00:00+00', '{"origin": "ß✈ ''quoted'' \"double\" \\ %s :name \n", "carrier": "UA", "distance": 1400, "temperature": null}', '{"label": true, "probabilities": {"true": 0.8, "false": 0.2}}', 'true', 0.8, NULL, 'UA2', '2026-11-21 12:00:00+00', 2842068230);
INSERT INTO public.predictions VALUES ('tiny-table.7.01a21e669d4b00000000007e7c', 'tiny-table', 'staging', 'tiny-table:7', 'tiny-table/7', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr', '2026-11-21 11:00:00+00', '{"origin": "EWR", "carrier": "UA", "distance": null, "temperature": null}', '{"label": true, "probabilities": {"true": 0.8, "false": 0.2}}', 'true', 0.8, NULL, NULL, '2026-11-21 12:00:00+00', 4168134081);
INSERT INTO public.predictions VALUES ('tiny-table.7.a', 'tiny-table', 'production', 'tiny-table:7', 'tiny-table/7', NULL, 'run', '2026-11-21 11:54:59.999993+00', '{"list": [1, 2], "none": null, "text": "3", "distance": 1000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000}', '{"label": true, "probabilities": {"true": 0.75, "false": 0.25}}', 'true', 0.75, NULL, 'UA3', '2026-11-21 12:00:00+00', 2341456637);
INSERT INTO public.predictions VALUES ('tiny-table.7.b', 'tiny-table', 'production', 'tiny-table:7', 'tiny-table/7', NULL, 'run', '2026-11-21 11:54:59.999993+00', '{"list": [1, 2], "none": null, "text": "3", "distance": 1000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000}', '{"label": true, "probabilities": {"true": 0.75, "false": 0.25}}', 'true', 0.75, NULL, NULL, '2026-11-21 12:00:00+00', 3504005321);
INSERT INTO public.predictions VALUES ('tiny-table.7.c', 'tiny-table', 'production', 'tiny-table:7', 'tiny-table/7', NULL, 'run', '2026-11-21 11:54:59.999993+00', '{"list": [1, 2], "none": null, "text": "3", "distance": 1000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000}', '{"label": true, "probabilities": {"true": 0.75, "false": 0.25}}', 'true', 0.75, 2.5, 'UA1', '2026-11-21 12:00:00+00', 1616655423);
INSERT INTO public.store_revision VALUES ('0002');
INSERT INTO public.trigger_causes VALUES ('tiny-table-20261121-120000-000001', 'psi');
INSERT INTO public.trigger_causes VALUES ('small-20261121-120000-000002', 'by hand');
INSERT INTO public.trigger_causes VALUES ('tiny-table-20261121-120000-000003', 'accuracy');
INSERT INTO public.trigger_causes VALUES ('tiny-table-20261121-120000-000003', 'd1');
INSERT INTO public.trigger_marks VALUES ('tiny-table', 'staging', 'schedule', '2026-11-21T03:00:00Z');
INSERT INTO public.triggers VALUES ('tiny-table-20261121-120000-000001', 'tiny-table', 'staging', 'drift', 'temperature psi 3.10 > 0.2', 'psi', false, '2026-11-21 12:00:00+00', 'released', 1, '2026-11-21 12:00:00+00', 0, 'tiny-table-run-1', 'monitor-1', '2026-11-21 12:00:00+00', '2026-11-21 12:00:00+00', '2026-11-21 12:03:00+00', 'ok');
INSERT INTO public.triggers VALUES ('small-20261121-120000-000002', 'small', 'staging', 'manual', 'temperature psi 3.10 > 0.2', 'by hand', true, '2026-11-21 12:00:00+00', 'running', 1, '2026-11-21 12:00:00+00', 0, NULL, 'monitor-1', '2026-11-21 12:00:00+00', '2026-11-21 12:00:00+00', NULL, NULL);
INSERT INTO public.triggers VALUES ('tiny-table-20261121-120000-000003', 'tiny-table', 'staging', 'quality', 'temperature psi 3.10 > 0.2', 'accuracy', false, '2026-11-21 12:00:00+00', 'waiting', 0, '2026-11-21 12:00:00+00', 1, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.triggers VALUES ('quiet-20261121-120000-000004', 'quiet', 'staging', 'drift', 'x', 'x', false, '2026-11-21 12:00:00+00', 'refused', 0, '2026-11-21 12:00:00+00', 0, NULL, NULL, NULL, NULL, '2026-11-21 12:00:00+00', 'retrain.on in usecase.yaml does not name drift');
ALTER TABLE ONLY public.assessments
    ADD CONSTRAINT assessments_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.bentos
    ADD CONSTRAINT bentos_pkey PRIMARY KEY (bento);
ALTER TABLE ONLY public.key_labels
    ADD CONSTRAINT key_labels_pkey PRIMARY KEY (usecase, join_key);
ALTER TABLE ONLY public.label_conflicts
    ADD CONSTRAINT label_conflicts_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.labels
    ADD CONSTRAINT labels_pkey PRIMARY KEY (prediction_id);
ALTER TABLE ONLY public.losses
    ADD CONSTRAINT losses_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.predictions
    ADD CONSTRAINT predictions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.store_revision
    ADD CONSTRAINT store_revision_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.trigger_causes
    ADD CONSTRAINT trigger_causes_pkey PRIMARY KEY (trigger, fingerprint);
ALTER TABLE ONLY public.trigger_marks
    ADD CONSTRAINT trigger_marks_pkey PRIMARY KEY (usecase, environment, kind);
ALTER TABLE ONLY public.triggers
    ADD CONSTRAINT triggers_pkey PRIMARY KEY (id);
CREATE INDEX assessments_by_time ON public.assessments USING btree (usecase, environment, kind, "time");
CREATE INDEX label_conflicts_by_usecase ON public.label_conflicts USING btree (usecase, received);
CREATE INDEX labels_by_received ON public.labels USING btree (usecase, received);
CREATE INDEX losses_by_usecase ON public.losses USING btree (usecase, environment, "time");
CREATE UNIQUE INDEX one_run_at_a_time ON public.triggers USING btree (usecase) WHERE ((state)::text = 'running'::text);
CREATE UNIQUE INDEX one_waits ON public.triggers USING btree (usecase, environment) WHERE ((state)::text = ANY (ARRAY[('waiting'::character varying)::text, ('cooling'::character varying)::text]));
CREATE INDEX predictions_by_key ON public.predictions USING btree (usecase, join_key);
CREATE INDEX predictions_by_time ON public.predictions USING btree (usecase, environment, "time", bento, sample);
CREATE INDEX triggers_by_time ON public.triggers USING btree (usecase, requested_at);
