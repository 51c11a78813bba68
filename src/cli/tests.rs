use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definition_of_the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in Cli::command().get_subcommands() {
        let help = command.clone().render_long_help().to_string();
        assert!(help.contains(&format!("voxgate {}", command.get_name())), "{help}");
        assert!(help.contains("Example"), "{help}");
    }
}

#[test]
fn the_documented_lines_are_taken() {
    for line in [
        "voxgate serve",
        "voxgate serve --bind 127.0.0.1:8080 --data-dir ./voxgate-data --config voxgate.toml --log-format json --log-level info --echo",
        "voxgate replay a.webm b.ogg --url ws://127.0.0.1:8080/ws --speed 2.5 --mode pcm --frame-ms 20 --streams 3 --conversation c --token t --no-record --json",
        "voxgate bench --url ws://h:1/ws --streams 200 --seconds 10 --encoding pcm_s16le --rate 16000 --channels 1 --mode base64 --frame-ms 20 --ack-ms 200 --speed max --file f --server-pid 1 --json",
        "voxgate listen --stream x --url ws://h:1 -o out.wav --token t",
        "voxgate listen --conversation x -o -",
        "voxgate decode f -o out.wav --rate 16000 --channels source",
        "voxgate token --user ada --role admin --role speaker --ttl 1h --secret s",
        "voxgate token --user ada --secret-file f --conversation team-* --jti j --audience a --issuer i",
        "voxgate check --config voxgate.toml",
        "voxgate demo --once",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn wrong_lines_are_bad_usage() {
    for line in [
        "voxgate",
        "voxgate nonsense",
        "voxgate replay",
        "voxgate replay a --speed fast",
        "voxgate replay a --url http://host",
        "voxgate replay a --streams 0",
        "voxgate bench --streams 0",
        "voxgate bench --speed 2",
        "voxgate bench --encoding mp9",
        "voxgate bench --server-pid 1",
        "voxgate listen",
        "voxgate listen --stream a --conversation b",
        "voxgate decode f",
        "voxgate decode f -o o --channels 2",
        "voxgate token --user ada",
        "voxgate token --secret s",
        "voxgate token --user ada --secret s --secret-file f",
        "voxgate token --user ada --secret s --ttl 1w",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
    assert_eq!(parse("voxgate --version").unwrap_err().kind(), ErrorKind::DisplayVersion);
}

#[test]
fn a_wrong_line_is_told_in_one() {
    for (line, want) in [
        ("voxgate replay", "the following required arguments were not provided: <FILE>...; --help shows how"),
        ("voxgate bench --speed 2", "invalid value '2' for '--speed <1|max>': use 1 or max; --help shows how"),
        (
            "voxgate benhc",
            "unrecognized subcommand 'benhc' tip: a similar subcommand exists: 'bench'; --help shows how",
        ),
    ] {
        assert_eq!(one_line(&parse(line).unwrap_err().to_string()), want);
    }
}

#[test]
fn flags_of_serve_are_settings() {
    let Command::Serve(args) = parse("voxgate serve --bind 127.0.0.1:0 --log-format json --echo").unwrap().command
    else {
        panic!("another command");
    };
    let keys: Vec<_> = args.settings().flags().into_iter().map(|flag| (flag.key, flag.flag)).collect();
    assert_eq!(keys, [("server.bind", "--bind"), ("log.format", "--log-format"), ("server.echo", "--echo")]);
}

#[test]
fn further_streams_get_numbered_files() {
    let path = Path::new("dir/out.wav");
    assert_eq!(listen::numbered(path, 1), path);
    assert_eq!(listen::numbered(path, 2), PathBuf::from("dir/out-2.wav"));
    assert_eq!(listen::numbered(Path::new("out"), 3), PathBuf::from("out-3"));
}

#[test]
fn tables_line_up() {
    let rows = [vec!["a.webm".to_owned(), "7".to_owned()], vec!["b".to_owned(), "1234".to_owned()]];
    assert_eq!(terminal::table(&["stream", "samples"], &rows), "stream  samples\na.webm        7\nb          1234\n");
}
