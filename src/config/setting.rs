//! How one value of a configuration is read and shown, and the macro that makes a section of such values.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The type of a key. Values are read by serde; the words of an error are ours, so that no error repeats a secret.
pub(super) trait Setting: DeserializeOwned + Serialize {
    /// What the key takes, as in "expected ...".
    const EXPECTED: &'static str;
}

macro_rules! settings {
    ($($ty:ty => $expected:literal),+ $(,)?) => { $(impl $crate::config::setting::Setting for $ty { const EXPECTED: &'static str = $expected; })+ };
}
pub(super) use settings;

settings! {
    bool => "true or false",
    u32 => "a whole number from 0 to 4294967295",
    u64 => "a whole number, 0 or more",
    usize => "a whole number, 0 or more",
    String => "a string",
    PathBuf => "a path in quotes",
    Vec<String> => "a list of strings such as [\"a\", \"b\"]",
    SocketAddr => "an address and a port such as \"127.0.0.1:8080\"",
}

impl<T: Setting> Setting for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
}

/// Reads a value, or says what would have been one.
pub(super) fn read<T: Setting>(value: &toml::Value) -> Result<T, SetError> {
    value.clone().try_into().map_err(|_| SetError::Type { expected: T::EXPECTED })
}

/// Why a key was not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetError {
    /// The section has no such key.
    UnknownKey,
    /// The value is of another type or does not parse.
    Type {
        /// What the key takes.
        expected: &'static str,
    },
}

/// A section of the configuration as the loader sees it.
pub(super) trait Section {
    /// Its keys in the order of the documentation.
    fn keys(&self) -> &'static [&'static str];

    /// Sets one key.
    ///
    /// # Errors
    /// [`SetError`]; the section is as it was.
    fn set(&mut self, key: &str, value: &toml::Value) -> Result<(), SetError>;

    /// The value of a key as it may be shown: secrets masked, `None` where it is unset.
    fn get(&self, key: &str) -> Option<toml::Value>;
}

/// Declares a section: a struct whose fields are its keys, with their types and defaults.
macro_rules! section {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $ty:ty = $default:expr,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $ty,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $crate::config::setting::Section for $name {
            fn keys(&self) -> &'static [&'static str] {
                &[$(stringify!($field)),+]
            }

            fn set(&mut self, key: &str, value: &toml::Value) -> Result<(), $crate::config::setting::SetError> {
                match key {
                    $(stringify!($field) => self.$field = $crate::config::setting::read::<$ty>(value)?,)+
                    _ => return Err($crate::config::setting::SetError::UnknownKey),
                }
                Ok(())
            }

            fn get(&self, key: &str) -> Option<toml::Value> {
                match key {
                    $(stringify!($field) => toml::Value::try_from(&self.$field).ok(),)+
                    _ => None,
                }
            }
        }
    };
}
pub(super) use section;

/// A closed set of words as a key's type.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident, $expected:literal { $($(#[$variant_meta:meta])* $variant:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        $crate::config::setting::settings! { $name => $expected }
    };
}
pub(super) use choice;
