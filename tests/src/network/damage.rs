//! Failures of a matrix, collected: one cell that fails does not hide how the others went.

use anyhow::{Result, bail};

/// What went wrong so far.
#[derive(Debug, Default)]
pub struct Damage {
    tried: usize,
    failures: Vec<String>,
}

impl Damage {
    /// Notes how one cell went.
    pub fn note(&mut self, cell: impl std::fmt::Display, outcome: Result<()>) {
        self.tried += 1;
        if let Err(error) = outcome {
            let failure = format!("{cell}: {error:#}");
            // At once: a matrix that is stopped has told what it knew.
            eprintln!("{failure}");
            self.failures.push(failure);
        }
    }

    /// All cells went well, and there were any.
    pub fn into_result(self) -> Result<()> {
        if self.tried == 0 {
            bail!("nothing was tried");
        }
        if !self.failures.is_empty() {
            let (failed, tried) = (self.failures.len(), self.tried);
            bail!("{failed} of {tried} failed:\n- {}", self.failures.join("\n- "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::Damage;

    #[test]
    fn one_failure_among_others_is_told() {
        let mut damage = Damage::default();
        damage.note("good", Ok(()));
        damage.note("bad", Err(anyhow!("broken")));
        let told = damage.into_result().unwrap_err().to_string();
        assert!(told.contains("1 of 2") && told.contains("bad: broken"), "{told}");
    }

    #[test]
    fn nothing_tried_is_no_success() {
        assert!(Damage::default().into_result().is_err());
    }
}
