//! The fuzz targets on the committed seeds, and on some thousand mutations of them: what a machine without a fuzzer can run.

use std::env;
use std::fs;
use std::path::Path;

use voxgate_fuzz::{Random, TARGETS, Target, mutate};

/// Mutations of each seed, unless `MUTATIONS` in the environment says how many.
const MUTATIONS: u64 = 60;
/// Inputs made of nothing but noise.
const NOISE: u64 = 40;

fn run(name: &str) {
    let (_, target): (_, Target) = *TARGETS.iter().find(|(n, _)| *n == name).expect("a target of that name");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    let mut seeds: Vec<_> = fs::read_dir(&folder).expect("a folder of seeds").map(|e| e.unwrap().path()).collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{name} has no seed");
    let mutations = env::var("MUTATIONS").map_or(MUTATIONS, |n| n.parse().expect("MUTATIONS is a number"));
    for path in &seeds {
        let seed = fs::read(path).unwrap();
        println!("{}", path.display());
        target(&seed);
        for number in 0..mutations {
            println!("mutation {number}");
            target(&mutate(&seed, &mut Random::new(number)));
        }
    }
    for number in 0..NOISE {
        let mut random = Random::new(number);
        let noise: Vec<u8> = (0..random.below(4_000)).map(|_| random.next() as u8).collect();
        target(&noise);
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*

        #[test]
        fn every_target_is_run_here() {
            assert_eq!([$(stringify!($name)),*].map(String::from), TARGETS.map(|(name, _)| name.to_owned()));
        }
    };
}

targets! { message session resume websocket config opus sniff wav aiff caf flac mp3 adts ogg webm mp4 }
