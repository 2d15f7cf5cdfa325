"""How to get each thing, by the kind of installation."""

FIXES = {
    "debian": {
        "mpi4py": "apt-get install python3-mpi4py openmpi-bin",
        "petsc4py": "apt-get install python3-petsc4py-real, then bash jobs/setup.sh",
        "slepc4py": "apt-get install python3-slepc4py-real, then bash jobs/setup.sh",
        "mumps": "apt-get install --reinstall python3-petsc4py-real (Debian's PETSc has MUMPS)",
        "h5py": "apt-get install python3-h5py python3-h5py-mpi",
        "blas": "apt-get install libopenblas0-pthread; if it is there: "
        "update-alternatives --config libblas.so.3-$(uname -m)-linux-gnu",
        "mpirun": "apt-get install openmpi-bin, and put /usr/bin first on the PATH",
        "libmpi": "remove what brought the second one from .venv, then bash jobs/setup.sh",
        "numpy": "bash jobs/setup.sh: it keeps the numpy that Debian's packages were compiled for",
        "python": ".venv/bin/python -m pip install",
    },
    "conda": {
        "mpi4py": "conda install -c conda-forge mpi4py 'openmpi=*'",
        "petsc4py": "conda install -c conda-forge petsc4py 'petsc=*=real*'",
        "slepc4py": "conda install -c conda-forge slepc4py 'slepc=*=real*'",
        "mumps": "conda install -c conda-forge 'petsc=*=real*' mumps-mpi",
        "h5py": "conda install -c conda-forge 'h5py=*=mpi_openmpi*'",
        "blas": "conda install -c conda-forge 'libblas=*=*openblas'",
        "mpirun": "conda install -c conda-forge openmpi, and put $CONDA_PREFIX/bin first on the PATH",
        "libmpi": "make the environment anew: conda env create -f jobs/env/conda.yaml",
        "numpy": "conda install -c conda-forge numpy petsc4py slepc4py mpi4py h5py, all at once",
        "python": "conda install -c conda-forge",
    },
    "spack": {
        "mpi4py": "spack add py-mpi4py && spack install",
        "petsc4py": "spack add py-petsc4py ^petsc+mumps+metis~complex && spack install",
        "slepc4py": "spack add py-slepc4py && spack install",
        "mumps": "spack add petsc+mumps+metis && spack install",
        "h5py": "spack add py-h5py+mpi ^hdf5+mpi && spack install",
        "blas": "spack add openblas and require it: packages: {all: {providers: {blas: [openblas]}}}",
        "mpirun": "spack load the MPI that py-mpi4py was built with",
        "libmpi": "concretizer: {unify: true} in spack.yaml, then spack concretize --force && spack install",
        "numpy": "bash jobs/setup.sh: it keeps the numpy that Spack's packages were compiled for",
        "python": ".venv/bin/python -m pip install",
    },
    "pip": {
        **dict.fromkeys(
            ("mpi4py", "petsc4py", "slepc4py", "mumps", "blas", "libmpi", "numpy"),
            "remove .venv, then HPCSIM_PETSC=pip bash jobs/setup.sh",
        ),
        "h5py": ".venv/bin/python -m pip install h5py",
        "mpirun": "put .venv/bin first on the PATH: . jobs/env/activate.sh",
        "python": ".venv/bin/python -m pip install",
    },
}
