//! Files of any size.

use std::fmt::Write;

/// What a generated file looks like.
pub(crate) struct Shape {
    services: u32,
    scheduler: &'static str,
    shared_pool: bool,
}

impl Shape {
    /// So many services with ten servers each.
    pub(crate) fn services(services: u32, scheduler: &'static str) -> Self {
        Self {
            services,
            scheduler,
            shared_pool: false,
        }
    }

    /// So many services that share one pool of ten servers.
    pub(crate) fn shared(services: u32, scheduler: &'static str) -> Self {
        Self {
            services,
            scheduler,
            shared_pool: true,
        }
    }

    /// The file's text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        if self.shared_pool {
            writeln!(text, "pool shared {{")?;
            servers(0, text)?;
            writeln!(text, "}}")?;
        }
        for service in 0..self.services {
            writeln!(text, "service s{service} {{")?;
            writeln!(
                text,
                "    vip 198.{}.{}.{} tcp 80",
                18 + (service >> 16 & 1),
                service >> 8 & 255,
                service & 255
            )?;
            writeln!(text, "    scheduler {}", self.scheduler)?;
            if self.shared_pool {
                writeln!(text, "    pool shared")?;
            } else {
                servers(service, text)?;
            }
            writeln!(text, "}}")?;
        }
        Ok(())
    }
}

fn servers(group: u32, text: &mut String) -> std::fmt::Result {
    for server in 0..10 {
        let number = group * 10 + server;
        writeln!(
            text,
            "    server r{server} 10.{}.{}.{}:8080",
            number >> 16 & 255,
            number >> 8 & 255,
            number & 255
        )?;
    }
    Ok(())
}
