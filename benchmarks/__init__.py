"""How long things take. Timings are reported and never judged: no test reads one."""
