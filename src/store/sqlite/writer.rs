//! The one connection that writes: a group is a transaction. Every failure leaves it ready for the next group, with a new connection where the
//! old one cannot be trusted. Knows transactions; `apply.rs` knows the statements.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, query};

use super::apply;
use super::database::Database;
use crate::store::error::StoreError;
use crate::store::queue::Keeper;
use crate::store::write::Write;

/// Keeps groups in the file.
pub(super) struct Writer {
    database: Database,
    /// None after a failure: the next group opens another.
    connection: Option<SqliteConnection>,
    history: u64,
}

impl Writer {
    pub(super) fn new(database: Database, connection: SqliteConnection, history: u64) -> Self {
        Self { database, connection: Some(connection), history }
    }

    async fn try_keep(&self, connection: &mut SqliteConnection, group: &mut [Write]) -> sqlx::Result<()> {
        // Immediate: the lock is waited for here, and no statement of the group can meet one any more.
        query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
        for write in group {
            apply::write(connection, write, self.history).await?;
        }
        query("COMMIT").execute(connection).await?;
        Ok(())
    }

    /// Folds the log into the file and ends the connection's thread.
    pub(super) async fn close(mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let folded = query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await;
        if let Err(error) = folded.and(connection.close().await) {
            // Nothing is lost: the next start reads the log.
            tracing::warn!(%error, "the store's log could not be folded into its file");
        }
    }
}

impl Keeper for Writer {
    async fn keep(&mut self, group: &mut [Write]) -> Result<(), StoreError> {
        self.database.is_in_place()?;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.database.connect().await?,
        };
        let kept = self.try_keep(&mut connection, group).await.map_err(|e| self.database.fault(&e));
        let usable = match &kept {
            Ok(()) => true,
            // A BEGIN that met the lock opened nothing, and then there is nothing to roll back.
            Err(StoreError::Locked { .. }) => {
                let _ = query("ROLLBACK").execute(&mut connection).await;
                true
            }
            Err(StoreError::Refused { .. }) => query("ROLLBACK").execute(&mut connection).await.is_ok(),
            Err(_) => false,
        };
        if usable {
            self.connection = Some(connection);
        } else {
            // Whatever it still holds open ends with it.
            let _ = connection.close().await;
        }
        kept
    }
}
