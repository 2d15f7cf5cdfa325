"""Time evolution of an infinite matrix-product density operator by two-site gates (iTEBD).

ρ = Σ ... B_0[p_0] B_1[p_1] ... as an infinite matrix-product state with one index for every site, in right-canonical
form with the singular values on every bond (Vidal, Phys. Rev. Lett. 98, 070201; the update without a division
by them: Hastings, J. Math. Phys. 50, 095207). Gates exp(dt L) are not unitary and destroy this form at order dt; it
is restored from time to time (Orús and Vidal, Phys. Rev. B 78, 155117). Tensors and charges are TeNPy's.
"""

import numpy as np
import tenpy.linalg.np_conserved as npc
from tenpy.linalg.truncation import svd_theta
from tenpy.networks.mps import MPS
from tenpy.networks.site import Site

from hpcsim.methods.matrix_product.chain import Chain
from hpcsim.system.matrices import ROUNDING


class Evolution:
    """A density operator that starts as 1/D, where every spin is mixed, and is advanced in time.

    discarded : largest discarded weight of a bond since it was last set to zero, of a normalised vector ρ
    """

    def __init__(self, chain: Chain):
        conserved = npc.ChargeInfo([chain.modulus] if chain.modulus else [])
        legs = [
            npc.LegCharge.from_qflat(conserved, charge[:, None] if chain.modulus else np.empty((len(charge), 0)))
            for charge in chain.charges
        ]
        sites = [Site(leg, sort_charge=False) for leg in legs]
        mixed = [basis.conj().T @ np.eye(round(np.sqrt(len(basis)))).ravel() for basis in chain.bases]
        dtype = np.result_type(*(matrix.dtype for matrix in chain.liouvillians))
        mixed = [vector if np.issubdtype(dtype, np.complexfloating) else vector.real for vector in mixed]
        self.psi = MPS.from_product_state(
            sites,
            [v / np.linalg.norm(v) for v in mixed],
            bc="infinite",
            dtype=dtype,
            permute=False,
            unit_cell_width=len(sites),
        )
        self.generators = [
            self._gate(chain.liouvillians[i], legs[i], legs[(i + 1) % len(legs)]) for i in range(len(legs))
        ]
        self.dt, self.discarded = None, 0.0

    @staticmethod
    def _gate(matrix, first, second):
        """A matrix on two neighbours, without the elements that charges forbid."""
        pipe = npc.LegPipe([first, second])
        place = [pipe.map_incoming_flat(pair) for pair in np.ndindex(first.ind_len, second.ind_len)]
        order = np.argsort(place)
        return npc.Array.from_ndarray(
            matrix[order][:, order].toarray(),
            [pipe, pipe.conj()],
            labels=["(p0.p1)", "(p0*.p1*)"],
            cutoff=ROUNDING * abs(matrix).max(),
        )

    def advance(self, dt: float, steps: int, bond_dimension: int, cutoff: float):
        """`steps` symmetric second-order Trotter steps, even bonds first and last; then canonical form."""
        if dt != self.dt:
            self.dt, self.gates = (
                dt,
                [[npc.expm(time * generator) for generator in self.generators] for time in (dt / 2, dt)],
            )
        half, full = self.gates
        # charges k and -k have the same singular values: keeping one of a pair would make ρ not Hermitian
        truncation = {"chi_max": bond_dimension, "svd_min": cutoff, "trunc_cut": None, "degeneracy_tol": 1e-4}
        even, odd = range(0, self.psi.L, 2), range(1, self.psi.L, 2)
        for step in range(steps):
            for bonds, gates in ((even, half if step == 0 else full), (odd, full)):
                for i in bonds:
                    self._update(i, gates[i], truncation)
        for i in even:
            self._update(i, half[i], truncation)
        self.psi.canonical_form_infinite2(tol=1e-11)

    def _update(self, i: int, gate, truncation: dict):
        """Gate on the sites i and i + 1."""
        psi, j = self.psi, i + 1
        pair = npc.tensordot(psi.get_B(i).replace_label("p", "p0"), psi.get_B(j).replace_label("p", "p1"), ["vR", "vL"])
        pair = npc.tensordot(gate, pair.combine_legs([["p0", "p1"]], pipes=[gate.legs[0]]), ["(p0*.p1*)", "(p0.p1)"])
        pair = pair.split_legs(0).itranspose(["vL", "p0", "p1", "vR"])
        theta = pair.scale_axis(psi.get_SL(i), "vL").combine_legs([["vL", "p0"], ["p1", "vR"]], qconj=[+1, -1])
        _, values, right, error, norm = svd_theta(theta, truncation, inner_labels=["vR", "vL"])
        left = (
            npc.tensordot(
                pair.combine_legs([["p1", "vR"]], pipes=[theta.legs[1]]), right.conj(), ["(p1.vR)", "(p1*.vR*)"]
            )
            / norm
        )
        psi.set_SR(i, values)
        psi.set_B(i, left.replace_labels(["vL*", "p0"], ["vR", "p"]))
        psi.set_B(j, right.split_legs(1).replace_label("p1", "p"))
        self.discarded = max(self.discarded, error.eps)
