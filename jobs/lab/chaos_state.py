"""Injects seeded faults at every transition of the engine's state machine, workers in memory; prints what struck."""

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    """Exit code 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="chaos_state.py", description=__doc__)
    parser.add_argument("--faults", type=int, default=2_000, help="how many, at least")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed", action="store_true", help="measure group completions per second instead")
    options = parser.parse_args(arguments)
    if options.speed:
        from pipeline.lab.simulation.speed import measure_decisions

        for method in ("adapttoken", "adapttoken-lite"):
            for num_scorers in (8, 64):
                speed = measure_decisions(method=method, num_scorers=num_scorers)
                print(f"{method}, {num_scorers} scorers: {speed}", flush=True)
        return 0
    from pipeline.lab.chaos.campaign import format_campaign, run_campaign

    campaign = run_campaign(num_faults=options.faults, seed=options.seed)
    print(format_campaign(campaign))
    return 1 if campaign.broken else 0


if __name__ == "__main__":
    sys.exit(main())
