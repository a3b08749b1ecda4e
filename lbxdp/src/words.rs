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
by_word!(fate, Fate);
by_word!(forward, Forward);
by_word!(scheduler, Scheduler);
by_word!(tunnel_kind, TunnelKind);
by_word!(tunnel_checksum, TunnelChecksum);

/// A protocol or none.
pub(crate) mod any_protocol {
    use lbxdp_common::Protocol;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "the shape that serde wants")]
    pub(crate) fn serialize<S: Serializer>(value: &Option<Protocol>, to: S) -> Result<S::Ok, S::Error> {
        value.map(Protocol::name).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Protocol>, D::Error> {
        let Some(word) = Option::<String>::deserialize(from)? else { return Ok(None) };
        let protocol = Protocol::from_name(&word);
        protocol.map(Some).ok_or_else(|| serde::de::Error::custom(format!("unknown word `{word}`")))
    }
}
