//! What this process and its machine use: processor and memory, by `sysinfo`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, RefreshKind};

/// A reading. Percentages are those since the reading before; the first has none.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names say it")]
pub struct SystemReading {
    /// Of one core: two busy cores are 200.
    pub process_cpu_percent: f32,
    pub process_memory_bytes: u64,
    /// Processor time used since the process began.
    pub process_cpu_ms: u64,
    /// Of all cores together.
    pub system_cpu_percent: f32,
    pub system_memory_used_bytes: u64,
    pub system_memory_total_bytes: u64,
    pub cores: usize,
    /// Processes that run or wait to, averaged over one, five and fifteen minutes.
    pub load_average: [f64; 3],
}

/// Reads the machine.
#[derive(Debug)]
pub struct SystemMeter {
    pid: Option<Pid>,
    system: Mutex<(sysinfo::System, Option<(Instant, SystemReading)>)>,
}

/// Percentages over less than this are noise: who asks sooner gets the same reading again.
const FRESH: Duration = Duration::from_millis(500);

impl Default for SystemMeter {
    fn default() -> Self {
        let what = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing().with_cpu_usage())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        Self {
            pid: sysinfo::get_current_pid().ok(),
            system: Mutex::new((sysinfo::System::new_with_specifics(what), None)),
        }
    }
}

impl SystemMeter {
    /// Reads it: some file reads in `/proc`, far below a millisecond.
    pub fn read(&self) -> SystemReading {
        let (system, last) = &mut *self.system.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, reading)) = last
            && at.elapsed() < FRESH
        {
            return *reading;
        }
        system.refresh_cpu_usage();
        system.refresh_memory();
        if let Some(pid) = self.pid {
            let what = ProcessRefreshKind::nothing().with_cpu().with_memory();
            system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, what);
        }
        let process = self.pid.and_then(|pid| system.process(pid));
        let load = sysinfo::System::load_average();
        let reading = SystemReading {
            process_cpu_percent: process.map_or(0.0, sysinfo::Process::cpu_usage),
            process_memory_bytes: process.map_or(0, sysinfo::Process::memory),
            process_cpu_ms: process.map_or(0, sysinfo::Process::accumulated_cpu_time),
            system_cpu_percent: system.global_cpu_usage(),
            system_memory_used_bytes: system.used_memory(),
            system_memory_total_bytes: system.total_memory(),
            cores: system.cpus().len(),
            load_average: [load.one, load.five, load.fifteen],
        };
        *last = Some((Instant::now(), reading));
        reading
    }
}
