//! The contract over SQLite, and what only a file can do: be locked, fill up, be damaged, outlive a kill.

use crate::store::contract::{Place, store_contract};

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("below/voxgate.db").display());
    Place { url, _keep: Box::new(folder) }
}

store_contract!(place);
