//! The enumerations of `lbxdp-common` in JSON: by their words, through one definition for all of them.

macro_rules! by_word {
    ($module:ident, $name:ident) => {
        pub(crate) mod $module {
            use lbxdp_common::$name;
            use serde::{Deserialize, Deserializer, Serializer};

            pub(crate) fn serialize<S: Serializer>(value: &$name, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(value.name())
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<$name, D::Error> {
                let word = String::deserialize(from)?;
                $name::from_name(&word)
                    .ok_or_else(|| serde::de::Error::custom(format!("unknown word `{word}`")))
            }
        }
    };
}

by_word!(protocol, Protocol);
by_word!(forward, Forward);
by_word!(scheduler, Scheduler);
