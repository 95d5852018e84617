//! How the page looks: one stylesheet for light, dark and paper, and the policy that lets nothing else in.

/// The stylesheet, as it stands in the page.
pub(super) const SHEET: &str = include_str!("style.css");

/// SHA-256 of [`SHEET`] in Base64: the one thing that the page's own policy allows.
pub(super) const DIGEST: &str = "bmjgdZMZc+rDLad6hO64T627A3HmiXk8wBXj9EAO8VE=";

/// What the page may do: have this very stylesheet. No script, no image, no font, no frame, no form, no request.
pub(super) fn policy() -> String {
    format!("default-src 'none'; style-src 'sha256-{DIGEST}'; base-uri 'none'; form-action 'none'")
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn the_digest_is_that_of_the_sheet() {
        assert_eq!(
            BASE64_STANDARD.encode(Sha256::digest(SHEET)),
            DIGEST,
            "put the left one into DIGEST"
        );
    }

    /// `--name: #rrggbb;` of a block.
    fn palette(block: &str) -> Vec<(&str, [u8; 3])> {
        let declarations = block
            .lines()
            .filter_map(|line| line.trim().strip_prefix("--")?.split_once(": #"));
        declarations
            .map(|(name, value)| {
                let number = u32::from_str_radix(value.trim_end_matches(';'), 16).unwrap();
                let [_, red, green, blue] = number.to_be_bytes();
                (name, [red, green, blue])
            })
            .collect()
    }

    /// WCAG 2, "relative luminance".
    fn luminance(colour: [u8; 3]) -> f64 {
        let [red, green, blue] = colour.map(|channel| {
            let part = f64::from(channel) / 255.0;
            if part <= 0.04045 {
                part / 12.92
            } else {
                ((part + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    #[test]
    fn every_colour_of_words_and_marks_stands_out_by_day_and_by_night() {
        let (light, rest) = SHEET.split_once("@media screen").unwrap();
        let (dark, _) = rest.split_once("\n}\n").unwrap();
        for block in [light, dark] {
            let palette = palette(block);
            let of = |wanted: &str| palette.iter().find(|(name, _)| *name == wanted).unwrap().1;
            let marks: Vec<_> = palette
                .iter()
                .filter(|(name, _)| !["paper", "panel", "line"].contains(name))
                .collect();
            assert_eq!(marks.len(), 12);
            for (name, colour) in marks {
                for ground in ["paper", "panel"] {
                    let (a, b) = (luminance(*colour), luminance(of(ground)));
                    let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                    assert!(contrast >= 4.5, "{name} on {ground}: {contrast:.2}");
                }
            }
        }
    }
}
