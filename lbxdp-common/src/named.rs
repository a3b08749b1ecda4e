//! `named_enum!`: an enumeration that crosses a border (a map, the command line, a metric) is written once.

/// Defines an enumeration from rows `Variant = number => "name"`.
///
/// One row gives the number in a record, the word on the command line, in JSON and in a metric's label; beside the
/// enum itself there are `ALL`, `COUNT`, `raw`, `from_raw`, `name` and `from_name`. A number nobody knows is `None`.
#[macro_export]
macro_rules! named_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident : $repr:ty {
            $( $(#[$row_meta:meta])* $variant:ident = $number:literal => $word:literal ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr($repr)]
        $vis enum $name { $( $(#[$row_meta])* $variant = $number ),+ }

        impl $name {
            /// Every variant, in the order of its row.
            pub const ALL: &'static [Self] = &[$( Self::$variant ),+];
            /// How many variants there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The number that stands in records.
            #[inline(always)]
            pub const fn raw(self) -> $repr {
                self as $repr
            }

            /// The variant of a record's number; `None` for a number this version does not know.
            #[inline(always)]
            pub const fn from_raw(raw: $repr) -> Option<Self> {
                match raw {
                    $( $number => Some(Self::$variant), )+
                    _ => None,
                }
            }

            /// The word that people and programs see.
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$variant => $word ),+
                }
            }

            /// The variant of a word.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $( $word => Some(Self::$variant), )+
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro writes for enums that are public")]
mod tests {
    named_enum! {
        enum Colour: u8 {
            Red = 3 => "red",
            Blue = 7 => "blue",
        }
    }

    #[test]
    fn a_row_gives_number_and_name_both_ways() {
        for &colour in Colour::ALL {
            assert_eq!(Colour::from_raw(colour.raw()), Some(colour));
            assert_eq!(Colour::from_name(colour.name()), Some(colour));
        }
        assert_eq!(Colour::COUNT, 2);
        assert_eq!(Colour::from_raw(4), None);
        assert_eq!(Colour::from_name("Red"), None);
    }
}
