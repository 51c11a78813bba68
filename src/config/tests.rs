use std::io::Write as _;

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn file(text: &str) -> (tempfile::NamedTempFile, ConfigFile) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_owned();
    (file, ConfigFile::Required(path))
}

fn load_text(text: &str) -> Result<Loaded, ConfigError> {
    let (_kept, file) = file(text);
    load(&file, [], [])
}

fn load_env(pairs: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    load(&ConfigFile::None, environment(pairs), [])
}

/// The one fault of a file.
fn fault(text: &str) -> ConfigFault {
    let faults = load_text(text).unwrap_err().faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.into_iter().next().unwrap()
}

#[test]
fn nothing_at_all_is_a_valid_configuration_with_the_documented_defaults() {
    let config = load(&ConfigFile::None, [], []).unwrap().config;
    assert_eq!(config.server.bind.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.max_connections, 10_000);
    assert_eq!(config.server.max_connections_per_ip, 256);
    assert_eq!((config.server.handshake_timeout_ms, config.server.drain_ms), (5_000, 30_000));
    assert_eq!(config.auth.mode, AuthMode::None);
    assert_eq!((config.connections.heartbeat_interval_ms, config.connections.heartbeat_timeout_ms), (30_000, 90_000));
    assert_eq!((config.connections.max_consecutive_errors, config.connections.queue_messages), (5, 100));
    assert_eq!((config.session.resume_window_ms, config.session.event_ring), (60_000, 256));
    assert_eq!((config.audio.output_rate_hz, config.audio.queue_ms, config.audio.max_streams), (16_000, 1_000, 2_000));
    assert_eq!((config.limits.message_bytes, config.limits.json_depth), (1 << 20, 16));
    assert_eq!(
        (config.limits.messages_per_s, config.limits.broadcasts_per_s, config.limits.bytes_per_s),
        (50, 5, None)
    );
    assert!(config.recording.enabled);
    assert_eq!(config.store.url.expose(), "sqlite:./voxgate-data/voxgate.db");
    assert_eq!((config.monitoring.retention_s, config.monitoring.sample_interval_s), (86_400, 30));
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let (_kept, file) = file("[server]\nbind = \"127.0.0.1:1\"\ndrain_ms = 1\nmax_connections = 7\n");
    let env =
        environment(&[("VOXGATE__SERVER__BIND", "127.0.0.1:2"), ("VOXGATE__SERVER__DRAIN_MS", "2"), ("PATH", "/bin")]);
    let flag = Flag { key: "server.bind", flag: "--bind", value: "127.0.0.1:3".into() };
    let loaded = load(&file, env, [flag]).unwrap();
    let server = &loaded.config.server;
    assert_eq!((server.bind.port(), server.drain_ms, server.max_connections), (3, 2, 7));
    assert_eq!(loaded.origins["server.bind"], Origin::Flag { flag: "--bind" });
    assert_eq!(loaded.origins["server.drain_ms"].to_string(), "environment VOXGATE__SERVER__DRAIN_MS");
    assert!(loaded.origins["server.max_connections"].to_string().ends_with(" line 4"));
}

#[test]
fn environment_values_are_toml_or_else_plain_strings() {
    let secret = "12345678901234567890123456789012";
    let config = load_env(&[
        ("VOXGATE__AUTH__HS256_SECRET", secret),
        ("VOXGATE__SERVER__ALLOWED_ORIGINS", r#"["https://a.example", "http://b.example:81"]"#),
        ("VOXGATE__RECORDING__ENABLED", "false"),
        ("VOXGATE__RESPONDER__MODEL", "true"),
        ("VOXGATE__AUDIO__MAX_STREAM_S", ""),
        ("VOXGATE__SERVER__TRUSTED_PROXIES", "[\"10.0.0.0/8\"]"),
    ])
    .unwrap()
    .config;
    assert_eq!(config.auth.hs256_secret, Some(Secret::new(secret)));
    assert_eq!(config.server.allowed_origins.len(), 2);
    assert!(!config.recording.enabled);
    assert_eq!(config.responder.model.as_deref(), Some("true"));
    assert_eq!(config.audio.max_stream_s, None);
    assert!(config.server.trusted_proxies[0].contains("10.1.2.3".parse().unwrap()));
}

#[test]
fn unknown_names_are_faults_that_name_the_nearest_known_one() {
    for (text, key, hint) in [
        ("[sever]\nbind = \"127.0.0.1:1\"", "sever", "did you mean [server]?"),
        ("[server]\nmax_conections = 1", "server.max_conections", "did you mean server.max_connections?"),
        ("[server]\nqueue_ms = 1", "server.queue_ms", "did you mean audio.queue_ms?"),
        ("bind = \"127.0.0.1:1\"", "bind", "did you mean bind in section [server]?"),
        ("audio = 3", "audio", "write [audio] on a line of its own, its keys below"),
    ] {
        let fault = fault(text);
        assert_eq!((fault.key.as_str(), fault.hint.as_deref()), (key, Some(hint)), "{text}");
    }
    let far = fault("[server]\nzzz = 1");
    assert_eq!((far.problem.as_str(), far.hint), ("unknown key", None));
    let env = load_env(&[("VOXGATE__SERVER__BIMD", "127.0.0.1:1"), ("VOXGATE__BIND", "127.0.0.1:1")]).unwrap_err();
    assert_eq!(env.faults.len(), 2);
    assert!(env.to_string().contains("did you mean server.bind?"), "{env}");
}

#[test]
fn every_fault_is_reported_at_once() {
    let (_kept, file) =
        file("[audio]\nmax_streams = 0\noutput_rate_hz = 44100\n[limits]\nmessage_bytes = \"big\"\n[nope]\na = 1\n");
    let error = load(&file, environment(&[("VOXGATE__LOG__LEVEL", "loud")]), []).unwrap_err();
    let keys: Vec<&str> = error.faults.iter().map(|fault| fault.key.as_str()).collect();
    for key in ["audio.max_streams", "audio.output_rate_hz", "limits.message_bytes", "nope", "log.level"] {
        assert!(keys.contains(&key), "{key} in {keys:?}");
    }
    assert_eq!(keys.len(), 5);
    assert!(error.to_string().starts_with("5 faults in the configuration\n  "), "{error}");
}

#[test]
fn syntax_errors_name_their_lines_and_do_not_hide_other_sources() {
    let (_kept, file) = file("[server]\nbind = \n\n[audio]\nqueue_ms = = 3\n");
    let error = load(&file, environment(&[("VOXGATE__LOG__LEVEL", "loud")]), []).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("line 2") && text.contains("line 5") && text.contains("log.level"), "{text}");
}

#[test]
fn a_file_asked_for_must_be_there() {
    let error = load(&ConfigFile::Required("no/such/file.toml".into()), [], []).unwrap_err();
    assert!(error.to_string().contains("no/such/file.toml"), "{error}");
}

#[test]
fn rules_between_keys_and_ranges_are_kept() {
    for (text, key) in [
        ("[server]\nmax_connections = 0", "server.max_connections"),
        ("[server]\nbind = \"8080\"", "server.bind"),
        ("[server]\nbind = \"0.0.0.0:8080\"", "server.bind"),
        ("[server]\nallowed_origins = [\"https://a.example/\"]", "server.allowed_origins"),
        ("[server]\nallowed_origins = [\"*\"]", "server.allowed_origins"),
        ("[server]\ntrusted_proxies = [\"10.0.0.0/40\"]", "server.trusted_proxies"),
        ("[auth]\nmode = \"jwt\"", "auth.mode"),
        ("[auth]\nmode = \"basic\"", "auth.mode"),
        ("[auth]\nhs256_secret = \"short\"", "auth.hs256_secret"),
        ("[auth]\njwks_url = \"ftp://host\"", "auth.jwks_url"),
        ("[auth]\nroles_claim = \"sub\"", "auth.roles_claim"),
        ("[auth]\nconversations_claim = \"roles\"", "auth.conversations_claim"),
        ("[auth]\npublic_key_file = \"no-such-key.pem\"", "auth.public_key_file"),
        ("[connections]\nheartbeat_timeout_ms = 30000", "connections.heartbeat_timeout_ms"),
        ("[connections]\nper_user_max = 0", "connections.per_user_max"),
        ("[connections]\nqueue_bytes = 100", "connections.queue_bytes"),
        ("[session]\nevent_ring = 0", "session.event_ring"),
        ("[audio]\noutput_rate_hz = 44100", "audio.output_rate_hz"),
        ("[audio]\nmax_streams = 65537", "audio.max_streams"),
        ("[audio]\nmax_stream_s = 0", "audio.max_stream_s"),
        ("[audio]\nqueue_ms = -1", "audio.queue_ms"),
        ("[recording]\nquota_bytes = 0", "recording.quota_bytes"),
        ("[limits]\nbytes_per_s = 0", "limits.bytes_per_s"),
        ("[limits]\njson_depth = 1000", "limits.json_depth"),
        ("[store]\nurl = \"mysql://x\"", "store.url"),
        ("[responder]\ntimeout_ms = 0", "responder.timeout_ms"),
        ("[monitoring]\nretention_s = 10", "monitoring.retention_s"),
        ("[monitoring]\nsample_interval_s = 0", "monitoring.sample_interval_s"),
    ] {
        assert_eq!(fault(text).key, key, "{text}");
    }
    let openai = load_text("[responder]\nkind = \"openai\"").unwrap_err();
    assert_eq!(openai.faults.len(), 2, "{openai}");
}

#[test]
fn zero_is_no_limit_anywhere() {
    let config = Config::default();
    for section in SECTIONS {
        for key in config.section(section).unwrap().keys() {
            let loaded = load_text(&format!("[{section}]\n{key} = 0\n"));
            let is_fine = format!("{section}.{key}") == "auth.leeway_s"; // clocks may be held to be the same
            assert_eq!(loaded.is_ok(), is_fine, "{section}.{key} = 0");
        }
    }
}

#[test]
fn tls_needs_both_halves() {
    let pem = tempfile::NamedTempFile::new().unwrap();
    let path = pem.path().display();
    assert_eq!(fault(&format!("[server]\ntls_cert = \"{path}\"")).key, "server.tls_cert");
    assert_eq!(fault(&format!("[server]\ntls_key = \"{path}\"")).key, "server.tls_key");
    load_text(&format!("[server]\ntls_cert = \"{path}\"\ntls_key = \"{path}\"")).unwrap();
}

#[test]
fn beyond_loopback_authentication_or_insistence_is_needed() {
    let refused = load_env(&[("VOXGATE__SERVER__BIND", "[::]:8080")]).unwrap_err();
    assert!(refused.to_string().contains("--insecure-no-auth"), "{refused}");
    load_env(&[("VOXGATE__SERVER__BIND", "[::1]:0")]).unwrap();
    load_env(&[("VOXGATE__SERVER__BIND", "[::]:8080"), ("VOXGATE__SERVER__INSECURE_NO_AUTH", "true")]).unwrap();
    let secret = ("VOXGATE__AUTH__HS256_SECRET", "0123456789abcdef0123456789abcdef");
    load_env(&[("VOXGATE__SERVER__BIND", "[::]:8080"), ("VOXGATE__AUTH__MODE", "jwt"), secret]).unwrap();
}

#[test]
fn no_output_shows_a_secret() {
    let env = [
        ("VOXGATE__AUTH__HS256_SECRET", "hunter2hunter2hunter2hunter2hunter2"),
        ("VOXGATE__RESPONDER__BASE_URL", "https://me:hunter2@host/v1?key=hunter2"),
    ];
    let loaded = load_env(&env).unwrap();
    for shown in [loaded.to_toml(), format!("{loaded:?}"), toml::to_string(&loaded.config).unwrap()] {
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains(MASK));
    }
    for text in [
        "[auth]\nhs256_secret = [\"hunter2\"]",
        "[auth]\nhs256_secret = \"hunter2\"",
        "[responder]\nbase_url = \"hunter2\"",
    ] {
        let fault = fault(text);
        assert!(!format!("{fault} {fault:?}").contains("hunter2"), "{fault}");
    }
}

#[test]
fn the_effective_configuration_loads_again_as_itself() {
    let loaded = load_env(&[("VOXGATE__AUDIO__QUEUE_MS", "500"), ("VOXGATE__LOG__FILE", "a \"b\".log")]).unwrap();
    let text = loaded.to_toml();
    assert!(text.contains("queue_ms = 500  # environment VOXGATE__AUDIO__QUEUE_MS"), "{text}");
    assert!(text.contains("# max_stream_s is not set"), "{text}");
    assert_eq!(load_text(&text).unwrap().config, loaded.config);
}

#[test]
fn the_standard_variables_of_traces_are_keys_and_ours_win() {
    let named = load_env(&[("OTEL_SERVICE_NAME", "3"), ("OTEL_TRACES_SAMPLER", "always_off")]).unwrap();
    assert_eq!(named.config.telemetry.service_name, "3");
    assert_eq!(named.origins.len(), 1);
    let ours = load_env(&[("VOXGATE__TELEMETRY__SERVICE_NAME", "ours"), ("OTEL_SERVICE_NAME", "theirs")]).unwrap();
    assert_eq!(ours.config.telemetry.service_name, "ours");
    assert_eq!(fault("[telemetry]\nservice_name = \" \"").key, "telemetry.service_name");
}

#[test]
fn a_build_without_exporter_says_which_build_has_one() {
    let set = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:secret@collector:4318")];
    let loaded = load_env(&set);
    if cfg!(feature = "otel") {
        let shown = loaded.unwrap().to_toml();
        assert!(shown.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && !shown.contains("secret"), "{shown}");
    } else {
        let refused = loaded.unwrap_err().to_string();
        assert!(refused.contains("--features otel") && refused.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{refused}");
        assert!(!refused.contains("secret"), "{refused}");
    }
    assert!(load_text("[telemetry]\notlp_endpoint = \"collector:4318\"").is_err());
}
