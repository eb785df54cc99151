//! A semantic version as the other formats write it, so that a release candidate sorts before its release.

use anyhow::{Context as _, Result, bail};

/// `1.0.0-rc.1` becomes `1.0.0~rc.1`.
pub(super) fn debian(version: &str) -> String {
    version.replacen('-', "~", 1)
}

/// `1.0.0-rc.1` becomes `1.0.0rc1` (PEP 440).
///
/// # Errors
/// If the part behind the hyphen is not `alpha.N`, `beta.N` or `rc.N`.
pub(super) fn python(version: &str) -> Result<String> {
    let Some((release, candidate)) = version.split_once('-') else {
        return Ok(version.to_owned());
    };
    let (stage, number) = candidate.split_once('.').unwrap_or((candidate, "0"));
    let stage = match stage {
        "alpha" => "a",
        "beta" => "b",
        "rc" => "rc",
        _ => bail!("{version} has no form as a Python version: use -alpha.N, -beta.N or -rc.N"),
    };
    let number: u32 =
        number.parse().with_context(|| format!("{version} does not end in a number"))?;
    Ok(format!("{release}{stage}{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_candidate_sorts_before_its_release_everywhere() {
        assert_eq!(debian("1.0.0"), "1.0.0");
        assert_eq!(debian("1.0.0-rc.1"), "1.0.0~rc.1");
        assert_eq!(python("1.0.0").expect("a version"), "1.0.0");
        assert_eq!(python("1.0.0-rc.1").expect("a version"), "1.0.0rc1");
        assert_eq!(python("1.0.0-alpha").expect("a version"), "1.0.0a0");
        assert!(python("1.0.0-friday.1").is_err());
    }
}
