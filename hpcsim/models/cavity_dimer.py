"""Two spins and three lossy cavity modes that realise the gain/loss dimer (huber2020, Eqs. 11-13)."""

from typing import Annotated

import numpy as np
from pydantic import Field

from hpcsim.system import Jumps, Number, Parameters, Rate, Spin, System, Terms, WeakU1, Whole

Cutoff = Annotated[Whole, Field(ge=2)]


class Params(Parameters):
    """H = δ c†c - Gc [ (S-_a + S-_b) c† + h.c. ] + G [ S+_a c†_a + S-_b c†_b + h.c. ],
    dissipation ½ ( decay_c D[c] + decay_a D[c_a] + decay_b D[c_b] ) with D[c]ρ = 2cρc† - c†cρ - ρc†c,
    so that the amplitudes of the modes decay at half of these rates.

    For δ >> decay_c, Gc and decay_a, decay_b >> G the spins follow Eq. 13, the dimer with
    H = g (S+_a S-_b + h.c.) + Stark shifts g (S+_a S-_a + S+_b S-_b), g = -Gc²/δ, and gain 2G²/decay_a,
    loss 2G²/decay_b in place of (1/2S) times the couplings and rates of gain_loss_lattice. For S = 1/2 the
    shifts are Sz_a + Sz_b, which has no effect; for larger spins they also hold -Sz_a² - Sz_b², which does.

    S                         : spin of both ensembles
    detuning                  : δ of mode c, a rate
    Gc                        : coupling of mode c to both spins
    G                         : coupling of c_a to a, of c_b to b
    decay_c, decay_a, decay_b : γc, γ, γL of Eq. 12
    cutoff_c, cutoff          : Fock states kept of c; of c_a and c_b
    """

    S: Spin
    detuning: Number
    Gc: Number
    G: Number
    decay_c: Rate = 0.0
    decay_a: Rate
    decay_b: Rate
    cutoff_c: Cutoff = 2
    cutoff: Cutoff = 2


def build(params: Params) -> System:
    """Sites: the spins a, b, then the modes c, c_a, c_b."""
    a, b, c, of_a, of_b = range(5)
    # S-c† + h.c. = Sx x - Sy p,  S+c† + h.c. = Sx x + Sy p
    pairs = np.array([[a, c], [b, c], [a, of_a], [b, of_b]])
    strength = np.array([-params.Gc, -params.Gc, params.G, params.G])
    return System(
        spins=np.array([params.S, params.S, 0, 0, 0]),
        cutoffs=np.array([0, 0, params.cutoff_c, params.cutoff, params.cutoff]),
        hamiltonian=(
            Terms(("n",), np.array([[c]]), np.array([params.detuning])),
            Terms(("Sx", "x"), pairs, strength),
            Terms(("Sy", "p"), pairs, strength * [-1, -1, 1, -1]),
        ),
        # half of D, which is twice the standard form
        jumps=(Jumps("a", np.array([c, of_a, of_b]), np.array([params.decay_c, params.decay_a, params.decay_b])),),
        symmetries=(WeakU1(weights=np.array([1, 1, 1, -1, 1])),),
        sublattice=np.arange(5),
        sublattices=("a", "b", "c", "ca", "cb"),
    )
